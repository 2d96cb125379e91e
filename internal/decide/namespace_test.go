package decide

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

func perNamespace() *PerNamespace {
	return &PerNamespace{Selector: labels.SelectorFromSet(labels.Set{"subnet": "own"}), Pool: "pool", PrefixBits: 24}
}

func namespace(name, subnet string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"subnet": subnet}}}
}

func TestHasSubnet(t *testing.T) {
	going := namespace("a", "own")
	now := metav1.Now()
	going.DeletionTimestamp = &now
	for _, row := range []struct {
		name    string
		how     *PerNamespace
		ns      *corev1.Namespace
		subnets []*v1.Subnet
		has     bool
	}{
		{"one that is selected", perNamespace(), namespace("a", "own"), nil, true},
		{"one that has its Subnet", perNamespace(), namespace("a", "own"), []*v1.Subnet{decidetest.Subnet("ns-a", decidetest.Router, "10.64.0.0/24", "a")}, true},
		{"one that has another", perNamespace(), namespace("a", "own"), []*v1.Subnet{decidetest.Subnet("x", decidetest.Router, "10.64.0.0/24", "b", "a")}, false},
		{"one that is not selected", perNamespace(), namespace("a", "none"), nil, false},
		{"one that goes", perNamespace(), going, nil, false},
		{"one that is not there", perNamespace(), nil, nil, false},
		{"any where nobody asked for it", nil, namespace("a", "own"), nil, false},
	} {
		if has := row.how.Has(row.ns, row.subnets); has != row.has {
			t.Errorf("%s: %v", row.name, has)
		}
	}
}

// For a namespace's Subnet the network is created first, then the object with the
// prefix that Neutron chose. The object is deleted when the namespace should not
// have one any more.
func TestNamespaceSubnet(t *testing.T) {
	template := perNamespace().Template("a", decidetest.Router)
	chosen := WithNetwork(template, CloudNetwork{ID: "n", Prefixes: []netip.Prefix{decidetest.Prefix("10.64.0.0/24")}, Gateways: []netip.Addr{decidetest.Addr("10.64.0.1")}})
	if chosen.Spec.CIDRBlock != "10.64.0.0/24" || chosen.Spec.Gateway != "" || template.Spec.CIDRBlock != "" {
		t.Errorf("the Subnet is %+v", chosen.Spec)
	}
	join := intent.RouterInterface{Network: "ns-a", Router: decidetest.Router, Foreign: true}
	known := join
	known.MAC, known.Addresses = "02:00:0a:40:00:01", []netip.Prefix{decidetest.Prefix("10.64.0.1/24")}
	known.NetworkPort, known.RouterPort = "ns-a-neutron-22040ed5", "neutron-22040ed5-ns-a"
	segment := intent.Network{Name: "ns-a", SubnetPool: "pool", Prefixes: []netip.Prefix{decidetest.Prefix("10.64.0.0/24")}, Gateways: []netip.Addr{decidetest.Addr("10.64.0.1")}}
	unasked := segment
	unasked.SubnetPool = ""
	want := func(s intent.Network, j intent.RouterInterface) intent.Want {
		return intent.Want{Fabric: intent.FabricNeutron, Networks: []intent.Network{s}, RouterInterfaces: []intent.RouterInterface{j}}
	}
	for _, row := range []struct {
		name             string
		subnet, template *v1.Subnet
		how              *PerNamespace
		users            []string
		action           Action
		want             intent.Want
	}{
		{"not there yet", nil, template, perNamespace(), nil, Make, want(intent.Network{Name: "ns-a", SubnetPool: "pool", PrefixBits: 24}, join)},
		{"there", chosen, template, perNamespace(), nil, Hold, want(segment, known)},
		{"not wanted any more", chosen, nil, nil, []string{"pod/a/p"}, Remove, want(unasked, known)},
		{"gone", nil, nil, nil, nil, "", intent.Want{}},
	} {
		got, report, err := decidetest.Parts(Subnet(SubnetFacts{
			Name: "ns-a", Subnet: row.subnet, Template: row.template, PerNamespace: row.how, Users: row.users,
			Vpc: decidetest.Vpc(decidetest.Router), Router: &Router{Name: decidetest.Router}, NodeVpc: decidetest.Router, UnderlayMTU: 1500,
		}))
		if diff := cmp.Diff(row.want, got, decidetest.Compare); diff != "" || report.Action != row.action || err != nil {
			t.Errorf("%s: %v %q\n%s", row.name, err, report.Action, diff)
		}
	}
}

// A Subnet of a user that only has the label is not deleted.
func TestUsersSubnetWithLabelStays(t *testing.T) {
	s := decidetest.ReadySubnet("mine", "neutron")
	s.Labels = map[string]string{v1.LabelNamespace: "a"}
	if _, report, _ := decidetest.Parts(Subnet(SubnetFacts{Name: "mine", Subnet: s, Vpc: decidetest.Vpc(decidetest.Router, "a"), Router: &Router{Name: decidetest.Router}})); report.Action != Hold {
		t.Errorf("it is to be %q", report.Action)
	}
}

// Neutron also chooses the gateway of an IPv6 prefix.
func TestChosenGateway(t *testing.T) {
	s := WithNetwork(perNamespace().Template("a", decidetest.Router), CloudNetwork{Prefixes: []netip.Prefix{decidetest.Prefix("fd64::/64")}, Gateways: []netip.Addr{decidetest.Addr("fd64::")}})
	if s.Spec.CIDRBlock != "fd64::/64" || s.Spec.Gateway != "fd64::" {
		t.Errorf("%+v", s.Spec)
	}
}
