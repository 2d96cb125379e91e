package decide

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// A Subnet on fabric ovn with an interface on a Neutron router.
func TestSubnetOnNeutronRouter(t *testing.T) {
	got, report, err := decidetest.Parts(Subnet(SubnetFacts{
		Name: "net2", Subnet: decidetest.Subnet("net2", decidetest.Router, "12.0.1.0/24", "net2"), Vpc: decidetest.Vpc(decidetest.Router, "net2"),
		Router:      &Router{Name: decidetest.Router, MTU: 1400, Interfaces: []RouterInterface{{Prefix: decidetest.Prefix("192.168.1.0/24"), Network: "neutron-cd59"}}},
		UnderlayMTU: 1500, PortPrefix: "lrp-",
	}))
	want := intent.Want{
		Networks: []intent.Network{{Name: "net2", Prefixes: []netip.Prefix{decidetest.Prefix("12.0.1.0/24")}, LoadBalancersOf: decidetest.Router}},
		RouterInterfaces: []intent.RouterInterface{{
			Network: "net2", Router: decidetest.Router, Foreign: true, MAC: "02:00:0c:00:01:01", Addresses: []netip.Prefix{decidetest.Prefix("12.0.1.1/24")},
			NetworkPort: "net2-neutron-22040ed5", RouterPort: "lrp-neutron-22040ed5-net2",
		}},
	}
	if diff := cmp.Diff(want, got, decidetest.Compare); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if report.Action != Hold || report.Status.MTU != 1400 || report.Status.Gateway != "12.0.1.1" || report.Status.Protocol != "IPv4" {
		t.Errorf("told %+v", report)
	}
}

func TestOverlaySubnet(t *testing.T) {
	got, report, err := decidetest.Parts(Subnet(SubnetFacts{
		Name: "ovn-default", Subnet: decidetest.Subnet("ovn-default", v1.DefaultVpc, "10.16.0.0/16,fd00::/64"), UnderlayMTU: 1500, PortPrefix: "lrp-",
	}))
	want := intent.Want{
		Networks: []intent.Network{{Name: "ovn-default", Prefixes: []netip.Prefix{decidetest.Prefix("10.16.0.0/16"), decidetest.Prefix("fd00::/64")}}},
		RouterInterfaces: []intent.RouterInterface{{
			Network: "ovn-default", Router: v1.DefaultVpc, MAC: "02:00:0a:10:00:01",
			Addresses:   []netip.Prefix{decidetest.Prefix("10.16.0.1/16"), decidetest.Prefix("fd00::1/64")},
			NetworkPort: "ovn-default-ovn-cluster", RouterPort: "ovn-cluster-ovn-default",
		}},
		RoutePolicies: []intent.RoutePolicy{
			{Router: v1.DefaultVpc, Priority: 31000, To: decidetest.Prefix("10.16.0.0/16"), Allow: true},
			{Router: v1.DefaultVpc, Priority: 31000, To: decidetest.Prefix("fd00::/64"), Allow: true},
		},
	}
	if diff := cmp.Diff(want, got, decidetest.Compare); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if report.Status.Protocol != "Dual" || report.Status.MTU != 1442 {
		t.Errorf("told %+v", report.Status)
	}
}

func TestRefusedSubnets(t *testing.T) {
	neutron := &Router{Name: decidetest.Router, Interfaces: []RouterInterface{
		{Prefix: decidetest.Prefix("192.168.1.0/24"), Network: "provider"}, {Prefix: decidetest.Prefix("12.0.1.0/24"), Network: "net2", Ours: true},
	}}
	for _, row := range []struct {
		name, reason, says string
		facts              func(*SubnetFacts)
		outranked          bool
	}{
		{"as it is", "", "", func(*SubnetFacts) {}, false},
		{"its own network on the router", "", "", func(f *SubnetFacts) { f.Subnet.Spec.CIDRBlock = "12.0.1.0/24" }, false},
		{"of the other fabric", "", "", func(f *SubnetFacts) { f.Subnet.Spec.Provider = "neutron" }, false},
		{"named as its Vpc", "NameTaken", "choose another", func(f *SubnetFacts) { f.Name = decidetest.Router }, false},
		{"named as Neutron's", "NameTaken", "choose another", func(f *SubnetFacts) { f.Name = "neutron-x" }, false},
		{"named as a network on the router", "NameTaken", "has a network provider", func(f *SubnetFacts) { f.Name = "provider" }, true},
		{"with NAT", "NatOutgoing", "--enable-snat 22040ed5)", func(f *SubnetFacts) { f.Subnet.Spec.NatOutgoing = true }, false},
		{"with a broken spec", "InvalidSpec", "10.0.0.1/24", func(f *SubnetFacts) { f.Subnet.Spec.CIDRBlock = "10.0.0.1/24" }, false},
		{"of no Vpc", "UnknownVpc", decidetest.Router, func(f *SubnetFacts) { f.Vpc = nil }, false},
		{"of a Vpc that goes", "UnknownVpc", "being deleted", func(f *SubnetFacts) { f.Vpc.DeletionTimestamp = &f.Vpc.CreationTimestamp }, false},
		{"for a foreign namespace", "NamespaceNotInVpc", "namespace b", func(f *SubnetFacts) { f.Subnet.Spec.Namespaces = []string{"a", "b"} }, false},
		{"over Neutron's", "Overlap", "192.168.0.0/16 overlaps 192.168.1.0/24 of network provider", func(f *SubnetFacts) { f.Subnet.Spec.CIDRBlock = "192.168.0.0/16" }, true},
		{"over an older one", "Overlap", "Subnet a of the same Vpc", func(f *SubnetFacts) { f.Others = []*v1.Subnet{decidetest.Subnet("a", decidetest.Router, "12.0.0.0/8")} }, true},
		{"over a younger one", "", "", func(f *SubnetFacts) { f.Others = []*v1.Subnet{decidetest.Subnet("z", decidetest.Router, "12.0.0.0/8")} }, false},
		{"over one of another Vpc", "", "", func(f *SubnetFacts) { f.Others = []*v1.Subnet{decidetest.Subnet("a", "b", "12.0.0.0/8")} }, false},
		{"over a node", "Overlap", "Node n", func(f *SubnetFacts) {
			f.Subnet.Spec.Vpc, f.Router = v1.DefaultVpc, nil
			f.Nodes = []NodeAddr{{"n", netip.MustParseAddr("12.0.1.7")}}
		}, true},
		{"with ports named as another's", "NameTaken", "Subnet b-net2 of Vpc a", func(f *SubnetFacts) {
			f.Subnet.Spec.Vpc, f.Vpc, f.Router = "a-b", decidetest.Vpc("a-b", "a"), nil
			f.Others = []*v1.Subnet{decidetest.Subnet("b-net2", "a", "10.0.0.0/8")}
		}, true},
		{"of a router that went", "RouterGone", "not in OVN", func(f *SubnetFacts) { f.Router = nil }, false},
		{"of somebody else's router", "NameTaken", "neither ours nor", func(f *SubnetFacts) {
			f.Subnet.Spec.Vpc, f.Vpc, f.Router = "blue", decidetest.Vpc("blue", "a"), &Router{Name: "blue"}
		}, true},
	} {
		f := SubnetFacts{Name: "net2", Subnet: decidetest.Subnet("net2", decidetest.Router, "12.0.1.0/24", "a"), Vpc: decidetest.Vpc(decidetest.Router, "a"), Router: neutron, UnderlayMTU: 1500}
		row.facts(&f)
		d := Subnet(f)
		want, _, err := decidetest.Parts(d)
		if decidetest.Reason(err) != row.reason || row.says != "" && !strings.Contains(err.Error(), row.says) {
			t.Errorf("a Subnet %s: %s: %v", row.name, decidetest.Reason(err), err)
		}
		if kept := row.reason == "" || row.reason == "RouterGone"; kept == (len(want.Networks) == 0) {
			t.Errorf("a Subnet %s: wants %+v", row.name, want)
		}
		// Only an older right to its prefix or name removes its network.
		if _, called := d.Want(); called != (row.reason == "" || row.reason == "RouterGone" || row.outranked) {
			t.Errorf("a Subnet %s: the fabric is called: %v", row.name, called)
		}
		// A Subnet with ports on it keeps its network in each case.
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
		action    Action
		routers   int
		reason    string
	}{
		{"a new router of Neutron's", decidetest.Router, func(f *VpcFacts) { f.Vpc, f.Router = nil, theirs }, Make, 0, ""},
		{"Neutron's, without label", decidetest.Router, func(f *VpcFacts) { f.Router = theirs }, Make, 0, ""},
		{"Neutron's", decidetest.Router, func(f *VpcFacts) { f.Router, f.Vpc.Labels = theirs, map[string]string{v1.LabelVpcExternal: "true"} }, "", 0, ""},
		{"made before its router", decidetest.Router, func(*VpcFacts) {}, "", 0, "RouterGone"},
		{"whose router went", decidetest.Router, func(f *VpcFacts) {
			f.Vpc.Labels, f.Vpc.Status.Router = map[string]string{v1.LabelVpcExternal: "true"}, decidetest.Router
		}, Remove, 0, ""},
		{"whose router went, in use", decidetest.Router, func(f *VpcFacts) {
			f.Vpc.Labels, f.Vpc.Status.Router = map[string]string{v1.LabelVpcExternal: "true"}, decidetest.Router
			f.Subnets = []*v1.Subnet{decidetest.Subnet("a", decidetest.Router, "10.0.0.0/8")}
		}, "", 0, "RouterGone"},
		{"our own", "blue", func(*VpcFacts) {}, Hold, 1, ""},
		{"our own, there", "blue", func(f *VpcFacts) { f.Router = ours }, Hold, 1, ""},
		{"named as another's", "blue", func(f *VpcFacts) { f.Router = theirs }, Hold, 0, "NameTaken"},
		{"going", "blue", func(f *VpcFacts) { f.Vpc.DeletionTimestamp = gone }, Release, 0, ""},
		{"going, in use", "blue", func(f *VpcFacts) {
			f.Vpc.DeletionTimestamp, f.Subnets = gone, []*v1.Subnet{decidetest.Subnet("a", "blue", "10.0.0.0/8")}
		}, "", 1, "InUse"},
		{"gone", "blue", func(f *VpcFacts) { f.Vpc = nil }, "", 0, ""},
		{"the default's object gone", v1.DefaultVpc, func(f *VpcFacts) { f.Vpc = nil }, Make, 1, ""},
		{"the default", v1.DefaultVpc, func(*VpcFacts) {}, "", 1, ""},
	} {
		f := VpcFacts{Name: row.vpc, Vpc: decidetest.Vpc(row.vpc)}
		row.facts(&f)
		want, report, err := decidetest.Parts(Vpc(f))
		if report.Action != row.action || len(want.Routers) != row.routers || decidetest.Reason(err) != row.reason {
			t.Errorf("a Vpc %s: %q, %v, %v", row.name, report.Action, want, err)
		}
		if f.Router == theirs && f.Vpc != nil && !slices.Equal(report.Status.Subnets, []string{"a", "b"}) {
			t.Errorf("a Vpc %s: subnets %v", row.name, report.Status.Subnets)
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

func TestMAC(t *testing.T) {
	if v4, v6 := MAC(netip.MustParseAddr("12.0.1.2")), MAC(netip.MustParseAddr("fd00::c00:102")); v4 != "02:00:0c:00:01:02" || v6 != "02:60:0c:00:01:02" {
		t.Error(v4, v6)
	}
}
