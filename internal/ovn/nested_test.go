package ovn

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// nestedPod is a pod whose parent port is vm1.
func nestedPod(name string, tag int) intent.Want {
	w := pod(name, "net")
	w.Ports[0].Parent, w.Ports[0].Tag = "vm1", tag
	return w
}

// addSubport adds a port with the parent port vm1, as Neutron makes subports.
func addSubport(s *ovntest.Server, name string, tag int) {
	s.Nbctl("lsp-add", "neutron-net", name, "--", "set", "logical_switch_port", name, "parent_name=vm1", fmt.Sprint("tag=", tag))
}

// nestedFabric returns a database with the port vm1 of a Neutron VM and our switch net.
func nestedFabric(t *testing.T) (*ovntest.Server, *Fabric, notifications) {
	t.Helper()
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	f := dial(t, s)
	n := collect(f)
	apply(t, f, "subnet/net", intent.Want{Networks: []intent.Network{{Name: "net"}}})
	return s, f, n
}

func tagOf(s *ovntest.Server, port string) string {
	return strings.TrimSpace(s.Nbctl("get", "logical_switch_port", port, "tag"))
}

func TestNestedPort(t *testing.T) {
	s, f, _ := nestedFabric(t)
	seen := apply(t, f, "pod/ns/p", nestedPod("p.ns", 0))
	tag := seen.Ports["p.ns"].Tag
	if tag < 1 || tag > rows.MaxVLAN || tagOf(s, "p.ns") != fmt.Sprint(tag) {
		t.Fatalf("told %d, there is %s", tag, tagOf(s, "p.ns"))
	}
	if row := s.Nbctl("--bare", "--columns=parent_name,options", "list", "logical_switch_port", "p.ns"); strings.TrimSpace(row) != "vm1" {
		t.Errorf("%q", row)
	}
	// The port keeps its VLAN id after a restart.
	f.Close()
	f = dial(t, s)
	if seen := apply(t, f, "pod/ns/p", nestedPod("p.ns", 0)); seen.Changed != 0 || seen.Ports["p.ns"].Tag != tag {
		t.Errorf("again: %+v", seen)
	}
	// A port that loses its parent loses its VLAN id.
	if seen := apply(t, f, "pod/ns/p", pod("p.ns", "net")); len(seen.Ports) != 0 || tagOf(s, "p.ns") != "[]" {
		t.Errorf("%+v, %s", seen, tagOf(s, "p.ns"))
	}
}

func TestVLANAvoidsUsedIDs(t *testing.T) {
	s, f, _ := nestedFabric(t)
	addSubport(s, "neutrons", 7)
	s.Nbctl("lsp-add", "neutron-net", "vm2", "--", "lsp-add", "neutron-net", "elsewhere",
		"--", "set", "logical_switch_port", "elsewhere", "parent_name=vm2", "tag=8")
	for _, row := range []struct {
		name       string
		asks       int
		gets, gone bool
	}{{"p1", 7, false, false}, {"p2", 8, true, false}, {"p3", 8, false, false}} {
		seen := apply(t, f, intent.Unit("pod/ns/"+row.name), nestedPod(row.name, row.asks))
		if got := seen.Ports[row.name].Tag; (got == row.asks) != row.gets {
			t.Errorf("%s asked for %d and got %d", row.name, row.asks, got)
		}
	}
}

// Units that apply at the same time get different VLAN ids.
func TestManyNestedPorts(t *testing.T) {
	s, f, _ := nestedFabric(t)
	const many = 200
	errs := make(chan error, many)
	for i := range many {
		go func() {
			name := fmt.Sprint("p", i)
			_, err := f.Apply(withTimeout(t), intent.Unit("pod/ns/"+name), nestedPod(name, 0))
			errs <- err
		}()
	}
	for range many {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	tags := strings.Fields(s.Nbctl("--bare", "--columns=tag", "find", "logical_switch_port", "parent_name=vm1"))
	slices.Sort(tags)
	if n := len(slices.Compact(tags)); n != many {
		t.Errorf("%d different tags for %d ports", n, many)
	}
	if n, err := f.Clear(withTimeout(t)); n != many+1 || err != nil {
		t.Errorf("cleared %d: %v", n, err)
	}
}

// The database refuses a VLAN id that another port got before the replica showed it.
func TestVLANTakenMeanwhile(t *testing.T) {
	s, f, _ := nestedFabric(t)
	both := []intent.Want{nestedPod("p1", 7), nestedPod("p2", 7)}
	errs := commitTogether(t, f, both...)
	if errs[0] != nil || !errors.Is(errs[1], rows.ErrVLANTaken) {
		t.Errorf("%v", errs)
	}
	if seen := apply(t, f, "x/1", both[1]); seen.Ports["p2"].Tag == 7 || tagOf(s, "p1") != "7" {
		t.Errorf("%+v", seen)
	}
}

// If Neutron gives a subport a VLAN id that our port has, our port gets another one.
func TestNeutronTakesOurVLAN(t *testing.T) {
	s, f, n := nestedFabric(t)
	apply(t, f, "pod/ns/p", nestedPod("p.ns", 7))
	apply(t, f, "pod/ns/q", nestedPod("q.ns", 8))
	addSubport(s, "neutrons", 7)
	if u := next(t, n.units); u != "pod/ns/p" {
		t.Errorf("%s was told", u)
	}
	seen := apply(t, f, "pod/ns/p", nestedPod("p.ns", 7))
	if seen.Ports["p.ns"].Tag == 7 || tagOf(s, "neutrons") != "7" || tagOf(s, "q.ns") != "8" {
		t.Errorf("%+v", seen)
	}
}

func TestNoVLANLeft(t *testing.T) {
	s, f, n := nestedFabric(t)
	apply(t, f, "pod/ns/p", nestedPod("p.ns", 9))
	var args []string
	for i := 1; i <= rows.MaxVLAN; i++ {
		if i != 9 {
			args = append(args, "--", "lsp-add", "neutron-net", fmt.Sprint("c", i), "--",
				"set", "logical_switch_port", fmt.Sprint("c", i), "parent_name=vm1", fmt.Sprint("tag=", i))
		}
	}
	s.Nbctl(args[1:]...)
	if _, err := f.Apply(withTimeout(t), "pod/ns/q", nestedPod("q.ns", 0)); !isWait(err, NoVLAN) {
		t.Fatalf("%v", err)
	}
	s.Nbctl("lsp-del", "c12")
	if u := next(t, n.units); u != "pod/ns/q" {
		t.Errorf("%s was told", u)
	}
	if seen := apply(t, f, "pod/ns/q", nestedPod("q.ns", 0)); seen.Ports["q.ns"].Tag != 12 {
		t.Errorf("%+v", seen)
	}
}

// applyUntil applies a want after each change of the replica until done returns true.
func applyUntil(t *testing.T, f *Fabric, w intent.Want, done func(intent.Observed, error) bool) {
	t.Helper()
	for {
		changed := f.watcher.replicaChanged.Next()
		seen, err := f.Apply(withTimeout(t), "pod/ns/p", w)
		if done(seen, err) {
			return
		}
		select {
		case <-changed:
		case <-withTimeout(t).Done():
			t.Fatalf("%+v, %v", seen, err)
		}
	}
}

// Apply returns a Wait until the port is up; then the fabric notifies of the unit.
func TestPortMustBeUp(t *testing.T) {
	s, f, n := nestedFabric(t)
	w := nestedPod("p.ns", 0)
	w.Ports[0].MustBeUp = true
	if _, err := f.Apply(withTimeout(t), "pod/ns/p", w); !isWait(err, "ParentDown") {
		t.Errorf("%v", err)
	}
	s.Nbctl("set", "logical_switch_port", "vm1", "up=true")
	applyUntil(t, f, w, func(_ intent.Observed, err error) bool { return isWait(err, PortNotUp) })
	s.Nbctl("set", "logical_switch_port", "p.ns", "up=true")
	for up := false; !up; {
		if u := next(t, n.units); u != "pod/ns/p" {
			t.Errorf("%s was told", u)
		}
		seen, err := f.Apply(withTimeout(t), "pod/ns/p", w)
		up = err == nil && seen.Up["p.ns"] && seen.Ports["p.ns"].Tag != 0
	}
}

func TestParentCandidates(t *testing.T) {
	s, f, n := nestedFabric(t)
	apply(t, f, "pod/ns/p", pod("p.ns", "net"))
	s.Nbctl("set", "logical_switch_port", "vm1", `external_ids:"neutron:device_id"=server-1`)
	for len(f.ParentCandidates("server-1")) == 0 {
		_ = next(t, n.parentKeys)
	}
	for _, word := range []string{"vm1", "fa:16:3e:00:00:05", "10.10.1.5", "server-1"} {
		found := f.ParentCandidates(word, "nothing")
		if len(found) != 1 || found[0].ID != "vm1" || found[0].MAC != "fa:16:3e:00:00:05" || found[0].Server != "server-1" {
			t.Errorf("%s: %+v", word, found)
		}
	}
	if ours := f.ParentCandidates("p.ns", "12.0.1.2"); len(ours) != 0 {
		t.Errorf("ours: %+v", ours)
	}
	s.Nbctl("lsp-del", "vm1")
	for len(f.ParentCandidates("10.10.1.5", "server-1")) > 0 {
		_ = next(t, n.parentKeys)
	}
}

// ovn-northd makes the flows that a nested pod needs.
func TestNestedPacketPaths(t *testing.T) {
	nb, sb := ovntest.New(t, ovntest.Northbound), ovntest.New(t, ovntest.Southbound)
	addNeutronRows(nb)
	ovntest.Northd(t, nb, sb)
	f := dial(t, nb)
	apply(t, f, "subnet/net2", subnet("net2", "neutron-r", true))
	apply(t, f, "pod/ns/p", pod("p.ns", "net2"))
	nested := nestedPod("n.ns", 7)
	nested.Ports[0].Network, nested.Ports[0].MAC, nested.Ports[0].Addrs = "net2", "00:00:00:aa:00:09", []netip.Addr{netip.MustParseAddr("12.0.1.9")}
	apply(t, f, "pod/ns/n", nested)
	nb.Nbctl("--wait=sb", "sync")
	for name, c := range map[string][2]string{
		"pod to pod in a machine": {
			`inport=="p.ns" && eth.src==00:00:00:aa:00:02 && eth.dst==00:00:00:aa:00:09 && ip4.src==12.0.1.2 && ip4.dst==12.0.1.9 && ip.ttl==64 && icmp4.type==8`,
			`/* output to "n.ns", type "" */`,
		},
		"pod in a machine to that machine": {
			`inport=="n.ns" && eth.src==00:00:00:aa:00:09 && eth.dst==00:00:00:91:4d:df && ip4.src==12.0.1.9 && ip4.dst==10.10.1.5 && ip.ttl==64 && icmp4.type==8`,
			`/* output to "vm1", type "" */`,
		},
		"pod in a machine with another's address": {
			`inport=="n.ns" && eth.src==00:00:00:aa:00:09 && eth.dst==00:00:00:91:4d:df && ip4.src==12.0.1.2 && ip4.dst==10.10.1.5 && ip.ttl==64`,
			`drop`,
		},
	} {
		got := ovntest.Run(t, "ovn-trace", "--no-leader-only", "--db="+sb.Address, "net2", c[0])
		if !strings.Contains(got, c[1]) {
			t.Errorf("%s: no %q in:\n%s", name, c[1], got)
		}
	}
}

// The fabric notifies when a subport of Neutron comes up; Neutron itself sends no
// event for it.
func TestNeutronSubportUp(t *testing.T) {
	s, f, n := nestedFabric(t)
	addSubport(s, "theirs", 7)
	if up, known := f.PortUp("nobody's"); up || known {
		t.Error("a port that is not there is known")
	}
	s.Nbctl("set", "logical_switch_port", "theirs", "up=true")
	if port := next(t, n.subportsUp); port != "theirs" {
		t.Errorf("told of %s", port)
	}
	if up, known := f.PortUp("theirs"); !up || !known {
		t.Errorf("up %v, known %v", up, known)
	}
	s.Nbctl("set", "logical_switch_port", "theirs", "up=false")
	s.Nbctl("set", "logical_switch_port", "theirs", "up=true")
	if port := next(t, n.subportsUp); port != "theirs" {
		t.Errorf("told of %s", port)
	}
}
