package controller

import (
	"context"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/claim"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// defaultMTU is used if neither the settings nor a node gives an MTU.
const defaultMTU = 1500

// subnetUnit gathers and reports Subnets.
type subnetUnit struct {
	client     client.Client
	settings   settings.Settings
	reporter   report.Reporter
	topology   topology.Topology
	claims     *claim.Claims
	pools      pools
	namespaces namespaceSubnets
}

func (s subnetUnit) gather(ctx context.Context, n types.NamespacedName) (decide.SubnetFacts, error) {
	f := decide.SubnetFacts{Name: n.Name, Template: s.template(n.Name), PortPrefix: *s.settings.RouterPortPrefix, NodeVpc: s.topology.NodeVpc()}
	all, err := kube.Subnets(ctx, s.client)
	if err != nil {
		return f, err
	}
	for _, one := range all {
		if one.Name == n.Name {
			f.Subnet = one
		} else {
			f.Others = append(f.Others, one)
		}
	}
	if err := s.namespaces.gather(ctx, &f, all); err != nil || f.Subnet == nil {
		return f, err
	}
	f.Users = s.claims.Owners(n.Name)
	if f.Vpc, err = kube.Get[v1.Vpc](ctx, s.client, types.NamespacedName{Name: f.Subnet.Spec.Vpc}); err != nil {
		return f, err
	}
	if f.Router, err = s.topology.Router(f.Subnet.Spec.Vpc); err != nil {
		return f, err
	}
	nodes, err := kube.Nodes(ctx, s.client)
	f.Nodes, f.UnderlayMTU = nodeAddrs(nodes), s.underlayMTU(nodes)
	return f, err
}

// nodeAddrs returns the nodes' internal addresses.
func nodeAddrs(nodes []*corev1.Node) []decide.NodeAddr {
	var out []decide.NodeAddr
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			addr, err := netip.ParseAddr(a.Address)
			if err == nil && a.Type == corev1.NodeInternalIP {
				out = append(out, decide.NodeAddr{Node: n.Name, Addr: addr})
			}
		}
	}
	return out
}

// underlayMTU returns the settings' MTU, or the smallest one that an agent
// reports. Nested nodes do not count, because they have no tunnels.
func (s subnetUnit) underlayMTU(nodes []*corev1.Node) int {
	if s.settings.UnderlayMTU != 0 {
		return s.settings.UnderlayMTU
	}
	least := 0
	for _, n := range nodes {
		m, err := strconv.Atoi(n.Annotations[v1.AnnotationUnderlayMTU])
		if err == nil && m > 0 && !decide.Nested(n) && (least == 0 || m < least) {
			least = m
		}
	}
	if least == 0 {
		return defaultMTU
	}
	return least
}

// template returns the Subnet to create if one that every cluster has does not
// exist; nil for any other Subnet.
func (s subnetUnit) template(name string) *v1.Subnet {
	out := &v1.Subnet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.SubnetSpec{Vpc: s.topology.NodeVpc()}}
	if !s.settings.Overlay() {
		return s.podTemplate(name, out)
	}
	switch name {
	case v1.DefaultSubnet:
		out.Spec.CIDRBlock, out.Spec.Default, out.Spec.NatOutgoing = s.settings.DefaultCIDR, true, true
	case v1.JoinSubnet:
		out.Spec.CIDRBlock = s.settings.JoinCIDR
	default:
		return nil
	}
	return out
}

// podTemplate completes the template of Subnet pods. It returns nil until the
// router and the network of the settings are found.
func (s subnetUnit) podTemplate(name string, out *v1.Subnet) *v1.Subnet {
	if name != v1.PodSubnet || !s.topology.NodeVpcFound() {
		return nil
	}
	network, found := s.topology.Cloud.PodNetwork()
	if !found {
		return nil
	}
	out.Spec.CIDRBlock, out.Spec.Default, out.Spec.Provider = s.settings.Neutron.PodCIDR, true, string(intent.FabricNeutron)
	out.Spec.Network = network
	return out
}

// hold adds the finalizer to the Subnet before it has anything in the network.
func (s subnetUnit) hold(ctx context.Context, f decide.SubnetFacts, r decide.SubnetReport) error {
	if r.Action != decide.Hold {
		return nil
	}
	return kube.AddFinalizer(ctx, s.client, f.Subnet)
}

func (s subnetUnit) report(ctx context.Context, f decide.SubnetFacts, r decide.SubnetReport, out unit.Outcome) error {
	switch {
	case r.Action == decide.Make:
		return s.create(ctx, f, out)
	case r.Action == decide.Remove:
		return client.IgnoreNotFound(s.client.Delete(ctx, f.Subnet, client.Preconditions{UID: &f.Subnet.UID}))
	case r.Action == decide.Release && out.Applied:
		return s.release(ctx, f)
	case f.Subnet == nil:
		s.claims.Drop(f.Name)
		return nil
	}
	// Define the network before the Subnet is ready: pods need addresses from then
	// on.
	if out.State == unit.Done {
		if err := s.claims.Define(f.Name, r.Net.Prefixes, r.Net.Excluded); err != nil {
			return err
		}
	}
	after := f.Subnet.DeepCopy()
	after.Status = r.Status
	if s.topology.Cloud != nil && decide.FabricOf(f.Subnet) == intent.FabricNeutron {
		if network, known := s.topology.Cloud.Network(f.Name); known {
			decide.AddNetworkStatus(&after.Status, &after.Spec, network)
		}
	}
	s.count(f.Name, &after.Status)
	after.Status.Conditions = s.reporter.Conditions(f.Subnet, f.Subnet.Status.Conditions, out)
	return kube.PatchStatus(ctx, s.client, f.Subnet, after)
}

// release removes the finalizer of a Subnet that has nothing left in the network.
func (s subnetUnit) release(ctx context.Context, f decide.SubnetFacts) error {
	if err := s.pools.drain(ctx, f.Name); err != nil {
		return err
	}
	s.claims.Drop(f.Name)
	return kube.RemoveFinalizer(ctx, s.client, f.Subnet)
}

// create creates a Subnet that does not exist. If Neutron chooses its prefix, the
// Subnet is created after that; until then the namespace's events report
// problems.
func (s subnetUnit) create(ctx context.Context, f decide.SubnetFacts, out unit.Outcome) error {
	if f.PerNamespace == nil {
		return s.client.Create(ctx, f.Template)
	}
	ns, err := kube.Namespace(ctx, s.client, f.Template.Labels[v1.LabelNamespace])
	if err != nil || ns == nil {
		return err
	}
	s.reporter.Problem(ns, out)
	network, known := s.topology.Cloud.Network(f.Name)
	if !out.Applied || !known || len(network.Prefixes) == 0 {
		return nil
	}
	return s.client.Create(ctx, decide.WithNetwork(f.Template, network))
}

// count sets the numbers of used and available addresses.
func (s subnetUnit) count(subnet string, status *v1.SubnetStatus) {
	v4, v6 := s.claims.Counts(subnet)
	status.V4UsingIPs, status.V4AvailableIPs = v4.Used, v4.Available
	status.V6UsingIPs, status.V6AvailableIPs = v6.Used, v6.Available
}
