package policy

import (
	"net/netip"
	"testing"

	netv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
)

// FuzzPolicy checks that every policy that the API server accepts gives valid
// groups, and that an invalid peer never becomes everybody.
func FuzzPolicy(f *testing.F) {
	f.Add(fullSpec)
	f.Add(`{podSelector: {}, ingress: [{from: [{}], ports: [{port: -1}]}], egress: [{to: [{ipBlock: {cidr: x}}]}]}`)
	f.Add(`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: "::/0", except: ["fd00::/8"]}}], ports: [{port: http, protocol: SCTP}]}]}`)
	ports := PortCount{{"ns", "http", "tcp", 80}: 1, {"ns", "sql", "udp", 53}: 1, {"b", "http", "sctp", 65535}: 1}
	f.Fuzz(func(t *testing.T, spec string) {
		np := &netv1.NetworkPolicy{}
		np.Namespace, np.Name = "ns", "p"
		if yaml.Unmarshal([]byte(spec), &np.Spec) != nil {
			return
		}
		b := NewIndex([]*netv1.NetworkPolicy{np})
		want, _, err := decidetest.Parts(Decide(Facts{Namespace: "ns", Name: "p", Index: b, Ports: ports}))
		shared := map[string]bool{}
		for _, g := range b.Groups(ports) {
			shared[g.Name] = true
		}
		for _, g := range want.Groups {
			for _, r := range g.Rules {
				anybody := r.RemoteGroup == "" && r.RemoteCloudGroup == "" && r.Remote == netip.Prefix{}
				switch {
				case len(g.Name) > 255, r.RemoteGroup != "" && !shared[r.RemoteGroup]:
					t.Errorf("%s: %+v", g.Name, r)
				case r.First < 0, r.Last > 65535, r.Last < r.First:
					t.Errorf("ports of %+v", r)
				case anybody && r.Family == 0 && err == nil && !permitsEverybody(np):
					t.Errorf("%+v lets everybody through", r)
				}
			}
		}
		_, _ = b.Memberships(Pod{Namespace: "ns", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, CloudGroups{})
	})
}

func permitsEverybody(np *netv1.NetworkPolicy) bool {
	for _, r := range np.Spec.Ingress {
		if len(r.From) == 0 {
			return true
		}
	}
	for _, r := range np.Spec.Egress {
		if len(r.To) == 0 {
			return true
		}
	}
	return false
}
