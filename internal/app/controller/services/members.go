package services

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/service"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Members reads the facts about the members of a Service's load balancer.
type Members struct {
	Client   client.Client
	Topology topology.Topology
}

// Gather adds to f the Service's endpoints and the networks that they may be in.
func (m Members) Gather(ctx context.Context, f *service.Facts) (err error) {
	if f.Slices, err = m.slices(ctx, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}); err != nil {
		return err
	}
	if f.EndpointNetworks, err = m.networks(ctx); err != nil {
		return err
	}
	f.Nodes, err = m.nodes(ctx, f.Slices)
	return err
}

// slices returns the Service's EndpointSlices, sorted by name.
func (m Members) slices(ctx context.Context, n types.NamespacedName) ([]*discoveryv1.EndpointSlice, error) {
	var l discoveryv1.EndpointSliceList
	err := m.Client.List(ctx, &l, client.InNamespace(n.Namespace), client.MatchingFields{kube.IndexSliceService: n.Name})
	all := kube.Pointers(l.Items)
	slices.SortFunc(all, func(a, b *discoveryv1.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// networks returns the networks of pods on the nodes' router. Only networks in
// Neutron have a name.
func (m Members) networks(ctx context.Context) ([]service.EndpointNetwork, error) {
	all, err := kube.Subnets(ctx, m.Client)
	slices.SortFunc(all, func(a, b *v1.Subnet) int { return strings.Compare(a.Name, b.Name) })
	var out []service.EndpointNetwork
	for _, s := range all {
		prefixes, err := decide.PrefixesOf(&s.Spec)
		if err != nil || s.Spec.Vpc != m.Topology.NodeVpc() {
			continue
		}
		network := ""
		if decide.FabricOf(s) == intent.FabricNeutron {
			network = decide.NetworkName(s.Name)
		}
		for _, p := range prefixes {
			out = append(out, service.EndpointNetwork{Network: network, Prefix: p})
		}
	}
	return out, err
}

// nodes returns the addresses of the ports of those nodes that endpoints are on.
func (m Members) nodes(ctx context.Context, all []*discoveryv1.EndpointSlice) (map[string][]netip.Addr, error) {
	out := map[string][]netip.Addr{}
	for _, s := range all {
		for _, e := range s.Endpoints {
			if e.NodeName == nil || out[*e.NodeName] != nil {
				continue
			}
			ip, err := kube.Get[v1.IP](ctx, m.Client, types.NamespacedName{Name: decide.NodePort(*e.NodeName)})
			if err != nil {
				return nil, err
			}
			if ip != nil {
				out[*e.NodeName] = decide.Addrs(ip)
			}
		}
	}
	return out, nil
}
