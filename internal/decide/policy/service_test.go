package policy

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	netv1 "k8s.io/api/networking/v1"

	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// A Service's address is permitted if the policy permits all endpoints behind it.
func TestPolicyServices(t *testing.T) {
	t.Parallel()
	np := policyOf(t, "ns", "p", `{podSelector: {}, policyTypes: [Egress], egress: [
{to: [{podSelector: {matchLabels: {app: web}}}, {ipBlock: {cidr: 172.16.0.0/16}}], ports: [{port: 8080}, {port: http}]}]}`)
	web := Pod{Namespace: "ns", Labels: map[string]string{"app": "web"}, Ports: []NamedPort{{"ns", "http", "tcp", 81}}}
	other := Pod{Namespace: "ns"}
	pods := map[netip.Addr]*Pod{netip.MustParseAddr("10.0.0.1"): &web, netip.MustParseAddr("10.0.0.2"): &web, netip.MustParseAddr("10.0.0.9"): &other}
	member := func(addr string, port int) intent.Member {
		return intent.Member{Addr: netip.MustParseAddr(addr), Port: port}
	}
	for name, c := range map[string]struct {
		members []intent.Member
		open    bool
	}{
		"nobody behind":          {nil, false},
		"all":                    {[]intent.Member{member("10.0.0.1", 8080), member("10.0.0.2", 8080)}, true},
		"by the port's name":     {[]intent.Member{member("10.0.0.1", 81)}, true},
		"at another port":        {[]intent.Member{member("10.0.0.1", 8081)}, false},
		"a part":                 {[]intent.Member{member("10.0.0.1", 8080), member("10.0.0.9", 8080)}, false},
		"outside, in the block":  {[]intent.Member{member("172.16.0.1", 8080)}, true},
		"outside":                {[]intent.Member{member("172.17.0.1", 8080)}, false},
		"outside, no port names": {[]intent.Member{member("172.16.0.1", 81)}, false},
		"of another family":      {[]intent.Member{member("fd00::1", 8080), member("10.0.0.1", 8080)}, true},
	} {
		s := ServiceOf(intent.LoadBalancer{VIP: netip.MustParseAddr("10.96.0.1"), Listeners: []intent.Listener{{Protocol: "TCP", Port: 80, Members: c.members}}},
			func(a netip.Addr) *Pod { return pods[a] })
		b := NewIndex([]*netv1.NetworkPolicy{np})
		want, _, err := decidetest.Parts(Decide(Facts{Namespace: "ns", Name: "p", Index: b, Services: []Service{s}}))
		if err != nil {
			t.Fatal(err)
		}
		open := false
		for _, r := range want.Groups[0].Rules {
			open = open || r == intent.Rule{Direction: intent.Egress, Protocol: "tcp", First: 80, Last: 80, Remote: netip.MustParsePrefix("10.96.0.1/32")}
		}
		if open != c.open {
			t.Errorf("%s: open %v, want %v", name, open, c.open)
		}
	}
}

// A pod has addresses of both families; a block has one family.
func TestNamedPortInBlockIsOfOneFamily(t *testing.T) {
	t.Parallel()
	np := policyOf(t, "ns", "p", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: "fd00::/8"}}], ports: [{port: http}]}]}`)
	want, _, err := decidetest.Parts(Decide(Facts{Namespace: "ns", Name: "p", Index: NewIndex([]*netv1.NetworkPolicy{np}), Ports: PortCount{{"ns", "http", "tcp", 80}: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]bool{}
	for _, r := range want.Groups[0].Rules {
		got[r.Family] = r.RemoteGroup != ""
	}
	if d := cmp.Diff(map[int]bool{4: true, 6: true}, got); d != "" {
		t.Error(d)
	}
}
