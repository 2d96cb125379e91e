package nodenet

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dualStack returns a state for which Apply makes everything that it can make.
func dualStack() State {
	s := state()
	s.Node.Addrs = append(s.Node.Addrs, netip.MustParsePrefix("fd00:100:64::2/64"))
	s.Node.Gateways = append(s.Node.Gateways, netip.MustParseAddr("fd00:100:64::1"))
	s.Routes = append(s.Routes, prefixes("fd00:10:16::/64")...)
	s.Masquerade = append(s.Masquerade, prefixes("fd00:10:16::/64")...)
	return s
}

// snapshotWithIPv6 returns the snapshot with the IPv6 rules and routes and the links, which
// Remove must not leave, either.
func (l *lab) snapshotWithIPv6() string {
	l.t.Helper()
	links, err := l.handle(l.node).LinkList()
	if err != nil {
		l.t.Fatal(err)
	}
	text := l.snapshot() + l.ip(l.node, "-6 rule") + l.ip(l.node, "-6 route show table all proto 73")
	for _, dev := range links {
		text += dev.Attrs().Name + "\n"
	}
	return text
}

func TestRemoveLeavesNothing(t *testing.T) {
	l := newLab(t)
	before := l.snapshotWithIPv6()
	l.apply(dualStack())
	made := l.snapshotWithIPv6()
	for _, want := range []string{"ovn0", "fwmark 0x1000", "fd00:10:16::/64", "10.9.0.5 dev isgl1", "169.254.1.1/32", "table inet isthmus"} {
		if !strings.Contains(made, want) {
			t.Errorf("Apply made no %q:\n%s", want, made)
		}
	}
	if err := l.net.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, l.snapshotWithIPv6()); diff != "" {
		t.Error("Remove left something (-before +after):\n" + diff)
	}
	if err := l.net.Remove(t.Context()); err != nil {
		t.Errorf("Remove of what is not there: %v", err)
	}
}

// Without Open vSwitch, all but ovn0 is removed, and the error names ovn0's port.
func TestRemoveWithoutOVS(t *testing.T) {
	l := newLab(t)
	before := l.snapshotWithIPv6()
	l.apply(dualStack())
	away := errors.New("no OVS here")
	n := New(Options{Plug: l.plug, Unplug: func(context.Context, string) error { return away }, NetNS: &l.node})
	if err := n.Remove(t.Context()); !errors.Is(err, away) || !strings.Contains(err.Error(), NodeLink) {
		t.Errorf("Remove: %v", err)
	}
	if err := l.unplug(t.Context(), NodeLink); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, l.snapshotWithIPv6()); diff != "" {
		t.Error("Remove left more than ovn0 (-before +after):\n" + diff)
	}
}
