package nodenet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestNodeProbesPodOverHostLink(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, "10.9.0.5")
	l.apply(state())
	l.expectSource(l.node, "", "10.9.0.5", "169.254.1.1")
	l.expectSource(l.node, "172.20.0.1", "10.9.0.5", "169.254.1.1")
}

func TestEachPodHasItsOwnLink(t *testing.T) {
	l := newLab(t)
	second := newNamespace(t)
	l.addPod(second, "10.9.0.7/24", "isgl2")
	l.serve(l.pod, "10.9.0.5")
	l.serve(second, "10.9.0.7")
	s := state()
	s.Probes = append(s.Probes, probe("net2/b", "10.9.0.7", "isgl2"))
	l.apply(s)
	l.expectSource(l.node, "", "10.9.0.5", "169.254.1.1")
	l.expectSource(l.node, "", "10.9.0.7", "169.254.1.1")

	// A pod cannot use the other pod's address over its link, not even to answer.
	l.ip(second, "addr add 10.9.0.5/32 dev lo")
	l.ip(second, "route add 172.20.0.1/32 via 169.254.1.1 dev host0 onlink")
	l.serve(second, "10.9.0.5")
	l.ip(l.node, "route replace 10.9.0.5/32 dev isgl2 table 7349")
	l.expectTimeout(l.node, "", "10.9.0.5")
}

// Packets of a connection whose pod is gone do not leave by the default route with a
// link-local source.
func TestLinkAddressStaysOnLinks(t *testing.T) {
	l := newLab(t)
	stray := l.received(l.out, "169.254.1.1")
	l.serve(l.pod, "10.9.0.5")
	l.apply(state())
	c := l.openConnection(l.pod, l.node, "10.9.0.5:81")
	s := state()
	s.Probes = nil
	l.apply(s)
	fmt.Fprint(c, "hello")
	if stray() {
		t.Error("a packet from 169.254.1.1 left the node")
	}
	l.must(l.node, "nft", "flush", "chain", "inet", "isthmus", "leave")
	l.eventually("without that rule it leaves", func() error {
		fmt.Fprint(c, "hello")
		if !stray() {
			return errors.New("nothing came")
		}
		return nil
	})
}

// Some distributions turn strict reverse-path filtering on by default.
func TestProbeWithStrictReversePath(t *testing.T) {
	l := newLab(t)
	l.must(l.node, "sh", "-c", "for i in all default eth0 isgl1; do echo 1 > /proc/sys/net/ipv4/conf/$i/rp_filter; done")
	l.must(l.pod, "sh", "-c", "for i in all default eth0 host0; do echo 1 > /proc/sys/net/ipv4/conf/$i/rp_filter; done")
	l.serve(l.pod, "10.9.0.5")
	l.apply(state())
	l.expectSource(l.node, "", "10.9.0.5", "169.254.1.1")
}

// A process of the node also reaches the pod through a Service.
func TestProbeAfterDestinationNAT(t *testing.T) {
	l := newLab(t)
	l.must(l.node, "nft", "table ip svc { chain o { type nat hook output priority -100; ip daddr 10.96.0.1 dnat to 10.9.0.5; }; }")
	l.serve(l.pod, "10.9.0.5")
	l.apply(state())
	l.expectSource(l.node, "", "10.96.0.1", "169.254.1.1")
}

func TestPodOpensNothingOverHostLink(t *testing.T) {
	l := newLab(t)
	l.serve(l.node, "0.0.0.0")
	l.serve(l.out, "172.20.0.2")
	l.apply(state())
	l.ip(l.pod, "route add 172.20.0.0/24 via 169.254.1.1 dev host0 onlink")
	l.ip(l.node, "route add 10.9.0.5/32 dev isgl1") // the node would answer
	l.expectTimeout(l.pod, "", "169.254.1.1")
	l.expectTimeout(l.pod, "", "172.20.0.1")
	l.expectTimeout(l.pod, "", "172.20.0.2")

	// Without the firewall the connection works, so the test is valid.
	l.must(l.node, "nft", "delete table inet isthmus")
	l.expectSource(l.pod, "", "172.20.0.1", "10.9.0.5")
}

// A client outside may have the pod's address: the pod itself, through Neutron's
// router. The node answers it by the main table.
func TestAnswersUseMainTable(t *testing.T) {
	l := newLab(t)
	l.serve(l.node, "0.0.0.0")
	l.serve(l.pod, "10.9.0.5")
	l.ip(l.out, "addr add 10.9.0.5/32 dev lo")
	l.apply(state())
	l.expectSource(l.out, "10.9.0.5", "172.20.0.1", "10.9.0.5")
	l.expectSource(l.node, "", "10.9.0.5", "169.254.1.1")
}

func TestNothingIsForwardedOverHostLink(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, "10.9.0.5")
	l.serve(l.out, "172.20.0.2")
	l.apply(state())
	// The routes in both directions use the link.
	l.ip(l.out, "route add 10.9.0.5/32 via 172.20.0.1")
	l.ip(l.node, "route add 10.9.0.5/32 dev isgl1")
	l.ip(l.pod, "route add 172.20.0.0/24 via 169.254.1.1 dev host0 onlink")
	inPod, outside := l.received(l.pod, "172.20.0.2"), l.received(l.out, "10.9.0.5")
	l.expectTimeout(l.out, "", "10.9.0.5")
	l.expectTimeout(l.pod, "", "172.20.0.2")
	if inPod() || outside() {
		t.Errorf("forwarded to the pod: %v, from the pod: %v", inPod(), outside())
	}
	l.must(l.node, "nft", "flush", "chain", "inet", "isthmus", "forward")
	l.expectSource(l.out, "", "10.9.0.5", "172.20.0.2")
	l.expectSource(l.pod, "", "172.20.0.2", "10.9.0.5")
}

func TestPodNetworksAndMasquerade(t *testing.T) {
	l := newLab(t)
	l.serve(l.node, "0.0.0.0")
	l.serve(l.out, "172.20.0.2")
	l.serve(l.ovn, "0.0.0.0")
	l.ip(l.out, "route add 10.17.0.0/16 via 172.20.0.1")
	l.apply(state())
	l.expectSource(l.ovn, "10.16.0.9", "172.20.0.2", "172.20.0.1") // masquerade
	l.expectSource(l.ovn, "10.17.0.9", "172.20.0.2", "10.17.0.9")  // not a source of Masquerade
	l.expectSource(l.ovn, "10.16.0.9", "172.20.0.1", "10.16.0.9")  // to the node itself
	l.expectSource(l.node, "", "10.16.0.9", "100.64.0.2")
	l.expectSource(l.node, "172.20.0.1", "10.16.0.9", "100.64.0.2") // else the answer would not return
	l.expectSource(l.out, "", "10.17.0.9", "172.20.0.2")
}

// On the userspace datapath, OVS's internal port is a tap.
func TestTapHasNoChecksumOffload(t *testing.T) {
	l := newLab(t)
	l.net.o.Plug = func(context.Context, string, string, string) error {
		_, err := l.run(l.node, "ip", "tuntap", "add", "ovn0", "mode", "tap")
		return err
	}
	if _, err := l.net.Apply(t.Context(), state()); err != nil {
		t.Fatal(err)
	}
	if got := l.must(l.node, "ethtool", "-k", "ovn0"); !strings.Contains(got, "tx-checksumming: off") {
		t.Error(got)
	}
	if got := l.ip(l.node, "link show ovn0"); !strings.Contains(got, "02:00:64:40:00:02") || !strings.Contains(got, "mtu 1400") || !strings.Contains(got, ",UP") {
		t.Error(got)
	}
}

// Probes work while OVS is stopped.
func TestProbesWithoutOVS(t *testing.T) {
	l := newLab(t)
	l.net.o.Plug = func(context.Context, string, string, string) error { return errors.New("no OVS here") }
	_, err := l.net.Apply(t.Context(), state())
	if err == nil || err.Error() != "plug ovn0 as node-n1: no OVS here" {
		t.Errorf("Apply: %v", err)
	}
	l.serve(l.pod, "10.9.0.5")
	l.expectSource(l.node, "", "10.9.0.5", "169.254.1.1")
}

func TestSecondApplyChangesNothing(t *testing.T) {
	l := newLab(t)
	l.apply(state())
	before := l.snapshot()
	again := New(Options{Plug: l.plug, Unplug: l.unplug, NetNS: &l.node})
	for _, n := range []*Network{l.net, again} {
		if _, err := n.Apply(t.Context(), state()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, l.snapshot()); diff != "" {
		t.Error("a second Apply changed something (-before +after):\n" + diff)
	}
}

// snapshot returns the node's network as its tools show it, with the handles of
// nftables, which change when a rule is made again.
func (l *lab) snapshot() string {
	return l.ip(l.node, "-4 -o addr") + l.ip(l.node, "-4 rule") + l.ip(l.node, "-4 route show table all") +
		l.must(l.node, "nft", "-a", "list", "ruleset")
}

func TestEmptyStateRemovesPaths(t *testing.T) {
	l := newLab(t)
	l.apply(state())
	s := state()
	s.Probes, s.Routes, s.Masquerade = nil, nil, nil
	l.apply(s)
	if got := l.ip(l.node, "route show table 7349"); got != "" {
		t.Errorf("left in table 7349: %s", got)
	}
	if got := l.ip(l.node, "route show proto 73"); got != "" {
		t.Errorf("left in the main table: %s", got)
	}
	// While the node's claim is not known, ovn0 and its routes stay.
	l.apply(state())
	l.apply(State{})
	if got := l.ip(l.node, "route show proto 73"); strings.Count(got, "\n") != 2 {
		t.Errorf("routes through ovn0 while its claim is not known: %q", got)
	}
}

func TestOthersRoutesAreNotTouched(t *testing.T) {
	l := newLab(t)
	for _, r := range []string{"10.16.0.0/16 via 172.20.0.2 proto static", "10.18.0.0/16 via 172.20.0.2", "10.9.9.9/32 dev eth0 table 7349"} {
		l.ip(l.node, "route add "+r)
	}
	l.ip(l.node, "rule add fwmark 0x1 lookup 7349 priority 99")
	l.must(l.node, "nft", "table ip mine { chain c { type filter hook input priority 0; }; }")
	before := l.snapshot()
	_, err := l.net.Apply(t.Context(), state())
	want := "route to 10.16.0.0/16: the node has one already that is not ours (10.16.0.0/16 via 172.20.0.2 dev eth0); remove it or choose another CIDR"
	if err == nil || err.Error() != want {
		t.Errorf("Apply: %v, want %s", err, want)
	}
	if got := l.ip(l.node, "route get 10.17.0.9"); !strings.Contains(got, "dev ovn0 src 100.64.0.2") {
		t.Errorf("the other route is not there: %s", got)
	}
	if err := l.net.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, l.snapshot()); diff != "" {
		t.Error("somebody else's was changed (-before +after):\n" + diff)
	}
}

func TestGatewayChangesInPlace(t *testing.T) {
	l := newLab(t)
	l.apply(state())
	s := state()
	s.Node.Addrs = prefixes("100.64.0.3/16")
	s.Node.Gateways = []netip.Addr{netip.MustParseAddr("100.64.0.254")}
	s.Node.MTU = 1300
	l.apply(s)
	want := "10.16.0.0/16 via 100.64.0.254 dev ovn0 \n10.17.0.0/16 via 100.64.0.254 dev ovn0 \n"
	if got := l.ip(l.node, "route show proto 73"); got != want {
		t.Errorf("routes %q, want %q", got, want)
	}
	if got := l.ip(l.node, "-4 addr show dev ovn0"); strings.Contains(got, "100.64.0.2/") || !strings.Contains(got, "100.64.0.3/16") || !strings.Contains(got, "mtu 1300") {
		t.Errorf("ovn0: %s", got)
	}
}

// ovs-vswitchd removes its taps when it ends, and makes them again when it starts.
func TestOvn0IsMadeAgain(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- l.net.Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	<-changed // the watch has begun
	l.apply(state())
	settled := func() bool { return strings.Count(l.ip(l.node, "route show proto 73 dev ovn0"), "\n") == 2 }
	l.ip(l.node, "link del ovn0")
	for l.plugs < 2 || !settled() {
		<-changed
		l.apply(state())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch: %v", err)
	}
	l.serve(l.ovn, "10.16.0.9")
	l.expectSource(l.node, "", "10.16.0.9", "100.64.0.2")
}

// Apply restores a firewall that others have flushed or changed.
func TestFirewallIsRestored(t *testing.T) {
	l := newLab(t)
	l.apply(state())
	want := l.must(l.node, "nft", "list", "ruleset")
	for _, harm := range []string{
		"flush ruleset", "flush chain inet isthmus input", "delete element inet isthmus hostlinks { isgl1 }",
		"add element inet isthmus probed { 10.9.0.6 }", "add rule inet isthmus input accept", "add chain inet isthmus more",
	} {
		l.must(l.node, "nft", harm)
		l.apply(state())
		if diff := cmp.Diff(want, l.must(l.node, "nft", "list", "ruleset")); diff != "" {
			t.Errorf("%s: not put back:\n%s", harm, diff)
		}
	}
}

func TestFirewallText(t *testing.T) {
	l := newLab(t)
	s := state()
	s.Masquerade = prefixes("10.16.0.0/16", "10.16.3.0/24", "fd00:10:16::/64", "255.255.255.0/24")
	s.Probes = append(s.Probes, Probe{Pod: "net2/twin", Addr: netip.MustParseAddr("10.9.0.7"), Link: "isgl2"})
	if _, err := l.net.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/firewall.golden", l.must(l.node, "nft", "list", "table", "inet", "isthmus"))
	golden(t, "testdata/routing.golden", fmt.Sprint(l.ip(l.node, "rule show table 7349"),
		l.ip(l.node, "-d route show table 7349"), l.ip(l.node, "-d route show proto 73")))
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; rewrite with -update):\n%s", file, diff)
	}
}
