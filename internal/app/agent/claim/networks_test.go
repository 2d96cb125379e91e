package claim

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
)

func TestNetworks(t *testing.T) {
	ready := v1.SubnetStatus{Conditions: []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}}
	subnet := func(name, vpc, cidr string, nat bool, s v1.SubnetStatus) v1.Subnet {
		return v1.Subnet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.SubnetSpec{Vpc: vpc, CIDRBlock: cidr, NatOutgoing: nat}, Status: s}
	}
	got := Networks([]v1.Subnet{
		subnet("refused", v1.DefaultVpc, "172.31.0.0/24", true, v1.SubnetStatus{}),
		subnet("in-use", v1.DefaultVpc, "10.17.0.0/16", false, v1.SubnetStatus{V4UsingIPs: 1}),
		subnet("ovn-default", v1.DefaultVpc, "10.16.0.0/16", true, ready),
		subnet("join", v1.DefaultVpc, "100.64.0.0/16", false, ready),
		subnet("net2", "neutron-x", "12.0.1.0/24", false, ready),
	}, nil, ParsePrefixes("100.65.0.0/16"))
	want := nodenet.State{
		Routes:     ParsePrefixes("10.16.0.0/16,10.17.0.0/16"),
		Masquerade: ParsePrefixes("10.16.0.0/16"),
		Local:      ParsePrefixes("10.16.0.0/16,10.17.0.0/16,100.64.0.0/16"),
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}
