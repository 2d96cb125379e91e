package decide

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

const router0 = "neutron-22040ed5"

var comparePrefixes = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func meta1(name string) metav1.ObjectMeta {
	// Younger the later in the alphabet, and in whole seconds as in Kubernetes.
	age := time.Date(2026, 1, 1, 0, 0, int(name[0]), 0, time.UTC)
	return metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.NewTime(age)}
}

func subnetOf(name, vpc, cidr string, namespaces ...string) *v1.Subnet {
	return &v1.Subnet{ObjectMeta: meta1(name), Spec: v1.SubnetSpec{Vpc: vpc, CIDRBlock: cidr, Namespaces: namespaces, Provider: "ovn"}}
}

func vpcOf(name string, namespaces ...string) *v1.Vpc {
	return &v1.Vpc{ObjectMeta: meta1(name), Spec: v1.VpcSpec{Namespaces: namespaces}}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// reason is what an error says in a word.
func reason(err error) string {
	var w intent.Wait
	var s intent.Stop
	switch {
	case errors.As(err, &w):
		return w.Reason
	case errors.As(err, &s):
		return s.Reason
	case err != nil:
		return err.Error()
	}
	return ""
}

// The Subnet of the seed, and what the join looks like.
func TestSubnetOnNeutronsRouter(t *testing.T) {
	got, told, err := parts(Subnet(SubnetFacts{
		Name: "net2", Subnet: subnetOf("net2", router0, "12.0.1.0/24", "net2"), Vpc: vpcOf(router0, "net2"),
		Router:      &Router{Name: router0, MTU: 1400, Interfaces: []RouterInterface{{Prefix: prefix("192.168.1.0/24"), Network: "neutron-cd59"}}},
		UnderlayMTU: 1500, PortPrefix: "lrp-",
	}))
	want := intent.Want{
		Networks: []intent.Network{{Name: "net2", Prefixes: []netip.Prefix{prefix("12.0.1.0/24")}, LoadBalancersOf: router0}},
		RouterInterfaces: []intent.RouterInterface{{
			Network: "net2", Router: router0, Foreign: true, MAC: "02:00:0c:00:01:01", Addresses: []netip.Prefix{prefix("12.0.1.1/24")},
			NetworkPort: "net2-neutron-22040ed5", RouterPort: "lrp-neutron-22040ed5-net2",
		}},
	}
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if told.Action != Hold || told.Status.MTU != 1400 || told.Status.Gateway != "12.0.1.1" || told.Status.Protocol != "IPv4" {
		t.Errorf("told %+v", told)
	}
}

func TestOverlaySubnet(t *testing.T) {
	got, told, err := parts(Subnet(SubnetFacts{
		Name: "ovn-default", Subnet: subnetOf("ovn-default", v1.DefaultVpc, "10.16.0.0/16,fd00::/64"), UnderlayMTU: 1500, PortPrefix: "lrp-",
	}))
	want := intent.Want{
		Networks: []intent.Network{{Name: "ovn-default", Prefixes: []netip.Prefix{prefix("10.16.0.0/16"), prefix("fd00::/64")}}},
		RouterInterfaces: []intent.RouterInterface{{
			Network: "ovn-default", Router: v1.DefaultVpc, MAC: "02:00:0a:10:00:01",
			Addresses:   []netip.Prefix{prefix("10.16.0.1/16"), prefix("fd00::1/64")},
			NetworkPort: "ovn-default-ovn-cluster", RouterPort: "ovn-cluster-ovn-default",
		}},
		RoutePolicies: []intent.RoutePolicy{
			{Router: v1.DefaultVpc, Priority: 31000, To: prefix("10.16.0.0/16"), Allow: true},
			{Router: v1.DefaultVpc, Priority: 31000, To: prefix("fd00::/64"), Allow: true},
		},
	}
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if told.Status.Protocol != "Dual" || told.Status.MTU != 1442 {
		t.Errorf("told %+v", told.Status)
	}
}

func TestRefusedSubnets(t *testing.T) {
	neutron := &Router{Name: router0, Interfaces: []RouterInterface{
		{Prefix: prefix("192.168.1.0/24"), Network: "provider"}, {Prefix: prefix("12.0.1.0/24"), Network: "net2", Ours: true},
	}}
	for _, row := range []struct {
		name, reason, says string
		facts              func(*SubnetFacts)
		outranked          bool
	}{
		{"as it is", "", "", func(*SubnetFacts) {}, false},
		{"its own network on the router", "", "", func(f *SubnetFacts) { f.Subnet.Spec.CIDRBlock = "12.0.1.0/24" }, false},
		{"of the other fabric", "", "", func(f *SubnetFacts) { f.Subnet.Spec.Provider = "neutron" }, false},
		{"named as its Vpc", "NameTaken", "choose another", func(f *SubnetFacts) { f.Name = router0 }, false},
		{"named as Neutron's", "NameTaken", "choose another", func(f *SubnetFacts) { f.Name = "neutron-x" }, false},
		{"named as a network on the router", "NameTaken", "has a network provider", func(f *SubnetFacts) { f.Name = "provider" }, true},
		{"with NAT", "NatOutgoing", "--enable-snat 22040ed5)", func(f *SubnetFacts) { f.Subnet.Spec.NatOutgoing = true }, false},
		{"with a broken spec", "InvalidSpec", "10.0.0.1/24", func(f *SubnetFacts) { f.Subnet.Spec.CIDRBlock = "10.0.0.1/24" }, false},
		{"of no Vpc", "UnknownVpc", router0, func(f *SubnetFacts) { f.Vpc = nil }, false},
		{"of a Vpc that goes", "UnknownVpc", "being deleted", func(f *SubnetFacts) { f.Vpc.DeletionTimestamp = &f.Vpc.CreationTimestamp }, false},
		{"for a foreign namespace", "NamespaceNotInVpc", "namespace b", func(f *SubnetFacts) { f.Subnet.Spec.Namespaces = []string{"a", "b"} }, false},
		{"over Neutron's", "Overlap", "192.168.0.0/16 overlaps 192.168.1.0/24 of network provider", func(f *SubnetFacts) { f.Subnet.Spec.CIDRBlock = "192.168.0.0/16" }, true},
		{"over an older one", "Overlap", "Subnet a of the same Vpc", func(f *SubnetFacts) { f.Others = []*v1.Subnet{subnetOf("a", router0, "12.0.0.0/8")} }, true},
		{"over a younger one", "", "", func(f *SubnetFacts) { f.Others = []*v1.Subnet{subnetOf("z", router0, "12.0.0.0/8")} }, false},
		{"over one of another Vpc", "", "", func(f *SubnetFacts) { f.Others = []*v1.Subnet{subnetOf("a", "b", "12.0.0.0/8")} }, false},
		{"over a node", "Overlap", "Node n", func(f *SubnetFacts) {
			f.Subnet.Spec.Vpc, f.Router = v1.DefaultVpc, nil
			f.Nodes = []NodeAddr{{"n", netip.MustParseAddr("12.0.1.7")}}
		}, true},
		{"with ports named as another's", "NameTaken", "Subnet b-net2 of Vpc a", func(f *SubnetFacts) {
			f.Subnet.Spec.Vpc, f.Vpc, f.Router = "a-b", vpcOf("a-b", "a"), nil
			f.Others = []*v1.Subnet{subnetOf("b-net2", "a", "10.0.0.0/8")}
		}, true},
		{"of a router that went", "RouterGone", "not in OVN", func(f *SubnetFacts) { f.Router = nil }, false},
		{"of somebody else's router", "NameTaken", "neither ours nor", func(f *SubnetFacts) {
			f.Subnet.Spec.Vpc, f.Vpc, f.Router = "blue", vpcOf("blue", "a"), &Router{Name: "blue"}
		}, true},
	} {
		f := SubnetFacts{Name: "net2", Subnet: subnetOf("net2", router0, "12.0.1.0/24", "a"), Vpc: vpcOf(router0, "a"), Router: neutron, UnderlayMTU: 1500}
		row.facts(&f)
		d := Subnet(f)
		want, _, err := parts(d)
		if reason(err) != row.reason || row.says != "" && !strings.Contains(err.Error(), row.says) {
			t.Errorf("a Subnet %s: %s: %v", row.name, reason(err), err)
		}
		if kept := row.reason == "" || row.reason == "RouterGone"; kept == (len(want.Networks) == 0) {
			t.Errorf("a Subnet %s: wants %+v", row.name, want)
		}
		// Only what has an older right takes its network away.
		if _, called := d.Want(); called != (row.reason == "" || row.reason == "RouterGone" || row.outranked) {
			t.Errorf("a Subnet %s: the fabric is called: %v", row.name, called)
		}
		// With ports on it, none of this takes their network away.
		f.Users = []string{"pod/a/p"}
		if want, called := Subnet(f).Want(); called && len(want.Networks) != 1 || !called && row.reason != "InvalidSpec" {
			t.Errorf("a Subnet %s in use: wants %+v", row.name, want)
		}
	}
}

func TestVpcs(t *testing.T) {
	gone := &metav1.Time{Time: time.Unix(1, 0)}
	theirs, ours := &Router{Name: "r", Networks: []string{"b", "a"}}, &Router{Name: "r", Ours: true}
	for _, row := range []struct {
		name, vpc string
		facts     func(*VpcFacts)
		deed      Action
		routers   int
		reason    string
	}{
		{"a new router of Neutron's", router0, func(f *VpcFacts) { f.Vpc, f.Router = nil, theirs }, Make, 0, ""},
		{"Neutron's, without label", router0, func(f *VpcFacts) { f.Router = theirs }, Make, 0, ""},
		{"Neutron's", router0, func(f *VpcFacts) { f.Router, f.Vpc.Labels = theirs, map[string]string{v1.LabelVpcExternal: "true"} }, "", 0, ""},
		{"made before its router", router0, func(*VpcFacts) {}, "", 0, "RouterGone"},
		{"whose router went", router0, func(f *VpcFacts) {
			f.Vpc.Labels, f.Vpc.Status.Router = map[string]string{v1.LabelVpcExternal: "true"}, router0
		}, Remove, 0, ""},
		{"whose router went, in use", router0, func(f *VpcFacts) {
			f.Vpc.Labels, f.Vpc.Status.Router = map[string]string{v1.LabelVpcExternal: "true"}, router0
			f.Subnets = []*v1.Subnet{subnetOf("a", router0, "10.0.0.0/8")}
		}, "", 0, "RouterGone"},
		{"our own", "blue", func(*VpcFacts) {}, Hold, 1, ""},
		{"our own, there", "blue", func(f *VpcFacts) { f.Router = ours }, Hold, 1, ""},
		{"named as another's", "blue", func(f *VpcFacts) { f.Router = theirs }, Hold, 0, "NameTaken"},
		{"going", "blue", func(f *VpcFacts) { f.Vpc.DeletionTimestamp = gone }, Release, 0, ""},
		{"going, in use", "blue", func(f *VpcFacts) {
			f.Vpc.DeletionTimestamp, f.Subnets = gone, []*v1.Subnet{subnetOf("a", "blue", "10.0.0.0/8")}
		}, "", 1, "InUse"},
		{"gone", "blue", func(f *VpcFacts) { f.Vpc = nil }, "", 0, ""},
		{"the default's object gone", v1.DefaultVpc, func(f *VpcFacts) { f.Vpc = nil }, Make, 1, ""},
		{"the default", v1.DefaultVpc, func(*VpcFacts) {}, "", 1, ""},
	} {
		f := VpcFacts{Name: row.vpc, Vpc: vpcOf(row.vpc)}
		row.facts(&f)
		want, told, err := parts(Vpc(f))
		if told.Action != row.deed || len(want.Routers) != row.routers || reason(err) != row.reason {
			t.Errorf("a Vpc %s: %q, %v, %v", row.name, told.Action, want, err)
		}
		if f.Router == theirs && f.Vpc != nil && !slices.Equal(told.Status.Subnets, []string{"a", "b"}) {
			t.Errorf("a Vpc %s: subnets %v", row.name, told.Status.Subnets)
		}
	}
}

func TestNamesNeverCollide(t *testing.T) {
	long := strings.Repeat("a", 250)
	a, b := PodPort("ns", long+"1"), PodPort("ns", long+"2")
	if a == b || len(a) != 253 || len(b) != 253 {
		t.Errorf("%s (%d)\n%s", a, len(a), b)
	}
	if got := PodPort("net2", "ubuntu"); got != "ubuntu.net2" {
		t.Error(got)
	}
	if got := NodeGroup("a-b.c"); got != "node.a_b.c" {
		t.Error(got)
	}
}

func TestStaticMAC(t *testing.T) {
	for text, ok := range map[string]bool{
		"0A:00:00:12:34:56": true, "fa:16:3e:00:00:01": true, "01:00:5e:00:00:01": false, "00:00:00:00:00:00": false,
		"02:00:0a:00:00:02": false, "02:60:0a:00:00:02": false, "x": false, "00:00:00:00:00:00:00:01": false,
	} {
		if mac, err := staticMAC(text); (err == nil) != ok || ok && string(mac) != strings.ToLower(text) {
			t.Errorf("%s: %s, %v", text, mac, err)
		}
	}
	if v4, v6 := MAC(netip.MustParseAddr("12.0.1.2")), MAC(netip.MustParseAddr("fd00::c00:102")); v4 != "02:00:0c:00:01:02" || v6 != "02:60:0c:00:01:02" {
		t.Error(v4, v6)
	}
}

func TestPlaces(t *testing.T) {
	ready := func(s *v1.Subnet) *v1.Subnet {
		s.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
		return s
	}
	def, mine, bound := ready(subnetOf("own", "ovn-cluster", "10.3.0.0/16")), subnetOf("x", "blue", "10.0.0.0/16"), ready(subnetOf("y", "blue", "10.2.0.0/16", "b"))
	def.Spec.Default = true
	subnets := []*v1.Subnet{ready(subnetOf("ovn-default", "ovn-cluster", "10.1.0.0/16")), def, mine, bound, subnetOf("p", "blue", "10.4.0.0/16", "b", "c")}
	blue := vpcOf("blue", "a", "b", "d")
	blue.Spec.DefaultSubnet = "x"
	for _, row := range []struct{ namespace, annotation, subnet, reason string }{
		{"a", "", "x", "SubnetNotReady"},
		{"b", "", "y", ""}, // p is older, y is ready.
		{"c", "", "p", "SubnetNotReady"},
		{"e", "", "own", ""},
		{"e", "ovn-default", "ovn-default", ""},
		{"e", "y", "y", "NotAllowed"},
		{"e", "x", "x", "NotAllowed"},
		{"e", "join", "", "UnknownSubnet"},
	} {
		f := PodFacts{
			Namespace: row.namespace, Name: "p", Subnets: subnets, Vpcs: []*v1.Vpc{vpcOf("ovn-cluster"), blue},
			Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1.AnnotationSubnet: row.annotation}}},
		}
		s, err := f.place()
		if err == nil {
			err = f.admits(s)
		}
		if reason(err) != row.reason || s != nil && s.Name != row.subnet {
			t.Errorf("%s/%s: %v, %v", row.namespace, row.annotation, s, err)
		}
	}
}

// parts are a decision's want, which is empty where what stands is kept, its
// report and its problem.
func parts[R any](d intent.Decision[R]) (intent.Want, R, error) {
	want, _ := d.Want()
	return want, d.Report(), d.Problem()
}
