package plug

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func port() Port {
	return Port{
		Container: "0123456789abcdef", Link: "eth0", Pod: "net2/ubuntu", UID: "uid-1",
		IfaceID: "ubuntu.net2", IfaceIDVer: "uid-1", MAC: "00:00:00:0c:00:02",
		Addrs:    []netip.Prefix{netip.MustParsePrefix("12.0.1.2/24")},
		Gateways: []netip.Addr{netip.MustParseAddr("12.0.1.1")},
		MTU:      1400,
	}
}

// nested is the same pod on a node that is a virtual machine.
func nested() (Port, Node) {
	p := port()
	p.IfaceID, p.IfaceIDVer, p.Parent, p.Tag = "", "", "fa:16:3e:00:00:01", 101
	return p, Node{Mode: VLAN, Trunk: "ens3", TrunkMTU: 1442}
}

func node() Node {
	return Node{Mode: OVS, Bridge: "br-int", Owner: "kubernetes", UnderlayMTU: 1500}
}

func TestSteps(t *testing.T) {
	for name, change := range map[string]func(*Port, *Node){
		"plain":     func(*Port, *Node) {},
		"userspace": func(_ *Port, n *Node) { n.Userspace = true },
		"hostlink":  func(p *Port, _ *Node) { p.HostLink = true },
		"two-families": func(p *Port, _ *Node) {
			p.Addrs = append(p.Addrs, netip.MustParsePrefix("fd00::2/64"))
			p.Gateways = append(p.Gateways, netip.MustParseAddr("fd00::1"))
		},
		"gateway-outside": func(p *Port, _ *Node) {
			p.Addrs[0] = netip.MustParsePrefix("12.0.1.2/32")
			p.Routes = []Route{{To: netip.MustParsePrefix("10.96.0.0/12"), Via: netip.MustParseAddr("12.0.1.1")}}
		},
		"nested": func(p *Port, n *Node) { *p, *n = nested() },
	} {
		t.Run(name, func(t *testing.T) {
			p, n := port(), node()
			change(&p, &n)
			steps, err := Steps(p, n)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, text(steps))
		})
	}
	golden(t, "remains", text(Remains(OVS, port().Container, "eth0")))
	golden(t, "remains-nested", text(Remains(VLAN, port().Container, "eth0")))
}

func text(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: %s", file, d)
	}
}

func TestStepsRefuses(t *testing.T) {
	for says, change := range map[string]func(*Port, *Node){
		"does not fit":      func(p *Port, _ *Node) { p.MTU = 1443 },
		"leaves 1422":       func(p *Port, n *Node) { p.MTU = 1442; n.Underlay6 = true },
		"VLAN link":         func(p *Port, _ *Node) { p.Tag = 101 },
		"with Open vSwitch": func(p *Port, n *Node) { *p, *n = nested(); p.IfaceID = "a.net2" },
		"from 1 to 4094":    func(p *Port, n *Node) { *p, *n = nested(); p.Tag = 4095 },
		"ens3 has 1442":     func(p *Port, n *Node) { *p, *n = nested(); p.MTU = 1443 },
		"names no port":     func(p *Port, _ *Node) { p.IfaceID = "" },
		"no address":        func(p *Port, _ *Node) { p.Addrs = nil },
		"invalid MAC":       func(p *Port, _ *Node) { p.MAC = "x" },
	} {
		p, n := port(), node()
		change(&p, &n)
		if _, err := Steps(p, n); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// Remains must name every link and port that Steps can make.
func TestRemainsCoversSteps(t *testing.T) {
	p, n := port(), node()
	p.HostLink = true
	covers(t, p, n)
	p, n = nested()
	covers(t, p, n)
}

func covers(t *testing.T, p Port, n Node) {
	t.Helper()
	steps, err := Steps(p, n)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(made(steps), made(Remains(n.Mode, p.Container, p.Link))); d != "" {
		t.Error(d)
	}
}

func made(steps []Step) (names []string) {
	for _, s := range steps {
		switch s := s.(type) {
		case Veth:
			names = append(names, "veth "+s.Host)
		case VLANLink:
			names = append(names, "vlan "+s.Link+" behind "+s.Host)
		case SwitchPort:
			names = append(names, "port "+s.Name)
		}
	}
	return names
}

func TestNames(t *testing.T) {
	a, b := HostName("c1", "eth0"), HostName("c2", "eth0")
	if a == b || len(a) > 15 || HostName("c1", "net1") == a {
		t.Errorf("names %q, %q are not distinct and short", a, b)
	}
	want := Mark{Container: "c1", Link: "eth0", UID: "u1", VLAN: "101@fa:16:3e:00:00:01", Pod: "ns/p"}
	if m, ours := ParseAlias(want.Alias()); m != want || !ours {
		t.Errorf("alias gives %+v %v", m, ours)
	}
	if m, _ := ParseAlias(Mark{Container: "c1", Link: "eth0", UID: "u1", Pod: "ns/" + strings.Repeat("p", 300)}.Alias()); m.UID != "u1" {
		t.Errorf("a long name's alias gives %+v", m)
	}
	if m, _ := ParseAlias("isthmus c1 ns/p"); m != (Mark{Container: "c1", Pod: "ns/p"}) {
		t.Errorf("an earlier release's alias gives %+v", m)
	}
	if _, ours := ParseAlias("uplink"); ours {
		t.Error("takes a foreign link for ours")
	}
}
