package trigger

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// Self returns the unit of the object itself.
func Self(_ context.Context, o client.Object) []types.NamespacedName {
	return []types.NamespacedName{client.ObjectKeyFromObject(o)}
}

// Names returns the names of objects without a namespace.
func Names(names ...string) []types.NamespacedName {
	out := make([]types.NamespacedName, 0, len(names))
	for _, n := range names {
		out = append(out, types.NamespacedName{Name: n})
	}
	return out
}

// VpcOfSubnet returns the Vpc that a Subnet names.
func VpcOfSubnet(_ context.Context, o client.Object) []types.NamespacedName {
	return Names(o.(*v1.Subnet).Spec.Vpc)
}

// SubnetOfIP returns the Subnet of a claim.
func SubnetOfIP(_ context.Context, o client.Object) []types.NamespacedName {
	return Names(o.(*v1.IP).Spec.Subnet)
}

// NodeOfIP returns the node that owns the claim o; none if a pod owns it.
func NodeOfIP(_ context.Context, o client.Object) []types.NamespacedName {
	return ownerOfIP(o, "node")
}

// PodOfIP returns the pod that owns the claim o; none if a node owns it.
func PodOfIP(_ context.Context, o client.Object) []types.NamespacedName { return ownerOfIP(o, "pod") }

// ownerOfIP returns the unit that owns the claim if it is of that kind; none
// otherwise.
func ownerOfIP(o client.Object, kind string) []types.NamespacedName {
	ip := o.(*v1.IP)
	if k, n := ParseUnit(decide.IPUnit(ip)); k == kind && n.Name != "" {
		return []types.NamespacedName{n}
	}
	return nil
}

// ServiceOfSlice returns the Service of an EndpointSlice.
func ServiceOfSlice(_ context.Context, o client.Object) []types.NamespacedName {
	if n := kube.ServiceName(o); n != "" {
		return []types.NamespacedName{{Namespace: o.GetNamespace(), Name: n}}
	}
	return nil
}

// Maps has the map functions that read other objects. They read from the cache.
// This fails only when the controller stops, and then no unit runs.
type Maps struct {
	Reader client.Reader
	// NodeSubnet is the Subnet that nodes have a port on.
	NodeSubnet string
}

// OtherSubnetsOfVpc returns the other Subnets of a Subnet's Vpc: one of them may
// have been refused because it overlaps with this one.
func (m Maps) OtherSubnetsOfVpc(ctx context.Context, o client.Object) []types.NamespacedName {
	vpc := o.(*v1.Subnet).Spec.Vpc
	return m.subnets(ctx, func(s *v1.Subnet) bool { return s.Spec.Vpc == vpc && s.Name != o.GetName() })
}

// SubnetsOfVpc returns the Subnets that name the Vpc o.
func (m Maps) SubnetsOfVpc(ctx context.Context, o client.Object) []types.NamespacedName {
	return m.SubnetsIn(ctx, o.GetName())
}

// SubnetsIn returns the Subnets that name the Vpc, whether it exists or not.
func (m Maps) SubnetsIn(ctx context.Context, vpc string) []types.NamespacedName {
	return m.subnets(ctx, func(s *v1.Subnet) bool { return s.Spec.Vpc == vpc })
}

// EverySubnet returns all Subnets. It ignores the object.
func (m Maps) EverySubnet(ctx context.Context, _ client.Object) []types.NamespacedName {
	return m.subnets(ctx, func(*v1.Subnet) bool { return true })
}

func (m Maps) subnets(ctx context.Context, fits func(*v1.Subnet) bool) []types.NamespacedName {
	all, _ := kube.Subnets(ctx, m.Reader)
	var out []types.NamespacedName
	for _, s := range all {
		if fits(s) {
			out = append(out, types.NamespacedName{Name: s.Name})
		}
	}
	return out
}

// NodesOfSubnet returns all nodes if the Subnet is NodeSubnet; none otherwise.
func (m Maps) NodesOfSubnet(ctx context.Context, o client.Object) []types.NamespacedName {
	if o.GetName() != m.NodeSubnet {
		return nil
	}
	return m.EveryNode(ctx, o)
}

// EveryNode returns all nodes. It ignores the object.
func (m Maps) EveryNode(ctx context.Context, _ client.Object) []types.NamespacedName {
	all, _ := kube.Nodes(ctx, m.Reader)
	return keys(all)
}

// PodsOnNode returns the pods that are bound to the node o.
func (m Maps) PodsOnNode(ctx context.Context, o client.Object) []types.NamespacedName {
	all, _ := kube.Pods(ctx, m.Reader, client.MatchingFields{kube.IndexPodNode: o.GetName()})
	return keys(all)
}

// PodsInNamespace returns the pods in the namespace o.
func (m Maps) PodsInNamespace(ctx context.Context, o client.Object) []types.NamespacedName {
	all, _ := kube.Pods(ctx, m.Reader, client.InNamespace(o.GetName()))
	return keys(all)
}

// PodsOfStatefulSet returns the pods of the set that have a claim, which may
// outlive the pod.
func (m Maps) PodsOfStatefulSet(ctx context.Context, o client.Object) []types.NamespacedName {
	all, _ := kube.IPs(ctx, m.Reader, client.MatchingFields{kube.IndexStatefulSetClaim: o.GetNamespace()})
	var out []types.NamespacedName
	for _, ip := range all {
		if set, _, ok := kube.SplitOrdinal(ip.Spec.PodName); ok && set == o.GetName() {
			out = append(out, PodOfIP(ctx, ip)...)
		}
	}
	return out
}

// EveryService returns all Services. It ignores the object.
func (m Maps) EveryService(ctx context.Context, _ client.Object) []types.NamespacedName {
	all, _ := kube.Services(ctx, m.Reader)
	return keys(all)
}

// ServicesInNamespace returns the Services in the namespace o.
func (m Maps) ServicesInNamespace(ctx context.Context, o client.Object) []types.NamespacedName {
	all, _ := kube.Services(ctx, m.Reader, client.InNamespace(o.GetName()))
	return keys(all)
}

// ServicesOfNodeIP returns all Services if a node owns the claim o: their members
// may be pods on that node's own network.
func (m Maps) ServicesOfNodeIP(ctx context.Context, o client.Object) []types.NamespacedName {
	if NodeOfIP(ctx, o) == nil {
		return nil
	}
	return m.EveryService(ctx, o)
}

// keys returns the names of objects.
func keys[O client.Object](all []O) []types.NamespacedName {
	var out []types.NamespacedName
	for _, o := range all {
		out = append(out, client.ObjectKeyFromObject(o))
	}
	return out
}
