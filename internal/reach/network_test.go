package reach_test

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/reach"
)

var services = netip.MustParsePrefix("10.96.0.0/24")

// cloudGroupIDs are the ids of OpenStack's own groups, which are the same as
// their names.
var cloudGroupIDs = map[string]string{"machines": "machines", "x": "x", "y": "y"}

// network returns what the controller makes of a world: all groups, and the
// memberships of all pods.
func network(t interface{ Fatalf(string, ...any) }, w reach.World) reach.Network {
	index := policy.NewIndex(w.Policies)
	ports, pods := policy.PortCount{}, map[string]policy.Pod{}
	for _, p := range w.Pods {
		ports.Change(nil, policy.NamedPortsOf(p))
		pods[p.Namespace+"/"+p.Name] = policyPod(w, p)
	}
	standard, _, _ := parts(decide.Cluster(decide.ClusterFacts{}))
	n := reach.Network{Groups: standard.Groups, LoadBalancers: loadBalancers(w)}
	for _, p := range w.Policies {
		want, _, err := parts(policy.Decide(policy.Facts{
			Namespace: p.Namespace, Name: p.Name, Index: index, Ports: ports, Services: policyServices(w, pods), CloudGroups: cloudGroupIDs,
		}))
		if err != nil {
			t.Fatalf("policy %s: %v", p.Name, err)
		}
		n.Groups = append(n.Groups, want.Groups...)
	}
	for _, g := range index.Groups(ports) {
		n.Groups = append(n.Groups, g)
	}
	for _, node := range w.Nodes {
		a, _ := w.Addr(node.Name)
		n.Groups = append(n.Groups, policy.Guard(node.Name, []netip.Addr{a}, []netip.Prefix{services}))
	}
	known := map[string]bool{}
	for _, g := range n.Groups {
		if known[g.Name] {
			t.Fatalf("group %s is there twice", g.Name)
		}
		known[g.Name] = true
	}
	for name, p := range pods {
		m, err := index.Memberships(p, policy.CloudGroups{IDs: cloudGroupIDs})
		if err != nil {
			t.Fatalf("pod %s: %v", name, err)
		}
		for _, g := range m.Groups {
			if !known[g] {
				t.Fatalf("pod %s is in group %s, which nobody makes", name, g)
			}
		}
		n.Ports = append(n.Ports, reach.Port{Name: name, Addrs: p.Addrs, Groups: m.Groups, CloudGroups: m.CloudGroups})
	}
	for _, g := range n.Groups {
		for _, r := range g.Rules {
			if r.RemoteGroup != "" && !known[r.RemoteGroup] {
				t.Fatalf("group %s has a rule for group %s, which nobody makes", g.Name, r.RemoteGroup)
			}
		}
	}
	for _, o := range w.Outside {
		n.Ports = append(n.Ports, reach.Port{Name: o.Name, Addrs: []netip.Addr{o.Addr}, CloudGroups: o.SecurityGroups, Free: true})
	}
	return n
}

func policyPod(w reach.World, p *corev1.Pod) policy.Pod {
	for _, ns := range w.Namespaces {
		if ns.Name == p.Namespace {
			return policy.PodOf(p, ns, reach.PodAddrs(p))
		}
	}
	return policy.PodOf(p, nil, reach.PodAddrs(p))
}

func policyServices(w reach.World, pods map[string]policy.Pod) []policy.Service {
	at := func(a netip.Addr) *policy.Pod {
		for _, p := range pods {
			if slices.Contains(p.Addrs, a) {
				return &p
			}
		}
		return nil
	}
	var out []policy.Service
	for _, b := range loadBalancers(w) {
		out = append(out, policy.ServiceOf(b, at))
	}
	return out
}

func loadBalancers(w reach.World) []intent.LoadBalancer {
	var out []intent.LoadBalancer
	for _, s := range w.Services {
		b := intent.LoadBalancer{Name: s.Namespace + "/" + s.Name, VIP: netip.MustParseAddr(s.Spec.ClusterIP)}
		for _, sp := range s.Spec.Ports {
			l := intent.Listener{Protocol: strings.ToUpper(protocol(sp)), Port: int(sp.Port)}
			for _, f := range w.Backends(s, reach.Flow{Protocol: protocol(sp), Port: l.Port}) {
				l.Members = append(l.Members, intent.Member{Addr: f.To, Port: f.Port})
			}
			b.Listeners = append(b.Listeners, l)
		}
		out = append(out, b)
	}
	return out
}

func protocol(p corev1.ServicePort) string {
	return map[corev1.Protocol]string{"": "tcp", "TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}[p.Protocol]
}

// compareAll compares both results for every flow between any two endpoints, and
// fails at the first difference.
func compareAll(t interface{ Fatalf(string, ...any) }, w reach.World, ports []reach.Flow) {
	n := network(t, w)
	var ends []netip.Addr
	for _, p := range n.Ports {
		ends = append(ends, p.Addrs...)
	}
	for _, node := range w.Nodes {
		a, _ := w.Addr(node.Name)
		ends = append(ends, a)
	}
	for _, from := range ends {
		for _, to := range ends {
			for _, f := range ports {
				f.From, f.To = from, to
				if from.Is4() != to.Is4() {
					continue
				}
				if by, direct := n.Passes(f), w.Allows(f); by != direct {
					t.Fatalf("%+v: passes %v, by the API's words %v", f, by, direct)
				}
			}
		}
	}
}

// parts returns a decision's want, its report and its problem.
func parts[R any](d intent.Decision[R]) (intent.Want, R, error) {
	want, _ := d.Want()
	return want, d.Report(), d.Problem()
}
