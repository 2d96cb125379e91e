package policy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	netv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestPortCount(t *testing.T) {
	t.Parallel()
	c := PortCount{}
	a, b := NamedPort{"ns", "a", "tcp", 1}, NamedPort{"ns", "b", "tcp", 2}
	for i, s := range []struct{ before, after, changed []NamedPort }{
		{nil, []NamedPort{a}, []NamedPort{a}},
		{nil, []NamedPort{a, b}, []NamedPort{b}},
		{[]NamedPort{a}, []NamedPort{a}, nil},
		{[]NamedPort{a}, nil, nil},
		{[]NamedPort{a, b}, []NamedPort{b}, []NamedPort{a}},
		{[]NamedPort{b}, nil, []NamedPort{b}},
	} {
		if d := cmp.Diff(s.changed, c.Change(s.before, s.after)); d != "" {
			t.Errorf("step %d: %s", i, d)
		}
	}
	if len(c) != 0 {
		t.Errorf("left: %v", c)
	}
}

func TestAffected(t *testing.T) {
	t.Parallel()
	np := policyOf(t, "a", "p", `{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress],
ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: sql}]}],
egress: [{to: [{namespaceSelector: {matchLabels: {team: red}}}], ports: [{port: http}]}]}`)
	open := policyOf(t, "a", "open", `{podSelector: {}, egress: [{}]}`)
	b := NewIndex([]*netv1.NetworkPolicy{np, open})
	concerns := Affects(np)
	for pod, want := range map[*Pod]bool{
		{Namespace: "a", Labels: map[string]string{"app": "db"}}:            true,
		{Namespace: "a", Labels: map[string]string{"app": "web"}}:           true,
		{Namespace: "b", Labels: map[string]string{"app": "web"}}:           false,
		{Namespace: "b", NamespaceLabels: map[string]string{"team": "red"}}: true,
		{Namespace: "a"}: false,
	} {
		if concerns(*pod) != want {
			t.Errorf("%+v: want %v", *pod, want)
		}
	}
	name := types.NamespacedName{Namespace: "a", Name: "p"}
	http := NamedPort{"b", "http", "tcp", 80}
	policies, groups := b.UsingPorts([]NamedPort{http})
	if !slices.Equal(policies, []types.NamespacedName{name}) || !slices.Equal(groups, newGroups(np, PortCount{http: 1})) {
		t.Errorf("a new port wakes %v and %v", policies, groups)
	}
	if got := b.UsingServices(); !slices.Equal(got, []types.NamespacedName{name}) {
		t.Errorf("a changed Service wakes %v", got)
	}
	if behind := b.ReferringTo(groups[0], PortCount{http: 1}); !slices.Equal(behind, []types.NamespacedName{name}) {
		t.Errorf("behind the group: %v", behind)
	}
}

// newGroups returns the shared groups that exist only because of the ports.
func newGroups(np *netv1.NetworkPolicy, ports PortCount) (out []intent.Unit) {
	without := SharedGroups(np, nil)
	for _, u := range SharedGroups(np, ports) {
		if !slices.Contains(without, u) {
			out = append(out, u)
		}
	}
	return out
}

// FuzzBlock checks that an address is permitted if it is in the network and in no
// exception.
func FuzzBlock(f *testing.F) {
	f.Add("10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/15", "10.1.2.3")
	f.Add("0.0.0.0/0", "128.0.0.0/1", "0.0.0.0/1", "1.2.3.4")
	f.Add("fd00::/8", "fd00::/16", "::ffff:1.2.3.0/120", "fd01::1")
	f.Add("10.1.2.3/8", "", "x", "10.0.0.1")
	f.Fuzz(func(t *testing.T, cidr, one, two, addr string) {
		left, err := subtractPrefixes(cidr, []string{one, two})
		a, bad := netip.ParseAddr(addr)
		if err != nil || bad != nil || a.Zone() != "" {
			if len(left) > 0 && err != nil {
				t.Fatalf("%v, but %v passes", err, left)
			}
			return
		}
		in := func(text string) bool { return netip.MustParsePrefix(text).Contains(a) }
		if want := in(cidr) && !in(one) && !in(two); within(left, a) != want {
			t.Fatalf("%s without %s, %s: %s is let through: %v, want %v", cidr, one, two, a, !want, want)
		}
	})
}
