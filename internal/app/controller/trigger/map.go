package trigger

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// Self is the unit of the object itself.
func Self(_ context.Context, o client.Object) []types.NamespacedName {
	return []types.NamespacedName{client.ObjectKeyFromObject(o)}
}

// Names are the units of objects without a namespace.
func Names(names ...string) []types.NamespacedName {
	out := make([]types.NamespacedName, 0, len(names))
	for _, n := range names {
		out = append(out, types.NamespacedName{Name: n})
	}
	return out
}

// VpcOfSubnet is the Vpc that a Subnet names.
func VpcOfSubnet(_ context.Context, o client.Object) []types.NamespacedName {
	return Names(o.(*v1.Subnet).Spec.Vpc)
}

// SubnetOfIP is the Subnet of a claim.
func SubnetOfIP(_ context.Context, o client.Object) []types.NamespacedName {
	return Names(o.(*v1.IP).Spec.Subnet)
}

// NodeOfIP is the node whose claim o is, none if it is a pod's.
func NodeOfIP(_ context.Context, o client.Object) []types.NamespacedName {
	return ownerOfIP(o, "node")
}

// PodOfIP is the pod whose claim o is, none if it is a node's.
func PodOfIP(_ context.Context, o client.Object) []types.NamespacedName { return ownerOfIP(o, "pod") }

// ownerOfIP goes by the claim's name where its spec is empty: a claim that
// somebody else has changed must be repaired.
func ownerOfIP(o client.Object, kind string) []types.NamespacedName {
	ip := o.(*v1.IP)
	if k, n := ParseUnit(decide.IPUnit(ip)); k == kind && n.Name != "" {
		return []types.NamespacedName{n}
	}
	return nil
}

// ServiceOfSlice is the Service of an EndpointSlice.
func ServiceOfSlice(_ context.Context, o client.Object) []types.NamespacedName {
	if n := kube.ServiceName(o); n != "" {
		return []types.NamespacedName{{Namespace: o.GetNamespace(), Name: n}}
	}
	return nil
}

// Maps has the map functions that read other objects. They read from the cache:
// if that fails, which it does only when the controller stops, no unit runs.
type Maps struct {
	Reader client.Reader
	// NodeSubnet is the Subnet that nodes have a port on.
	NodeSubnet string
}

// OtherSubnetsOfVpc are the Subnets that share a Vpc with this one: one of them
// may have been refused because it overlaps with it.
func (m Maps) OtherSubnetsOfVpc(ctx context.Context, o client.Object) []types.NamespacedName {
	vpc := o.(*v1.Subnet).Spec.Vpc
	return m.subnets(ctx, func(s *v1.Subnet) bool { return s.Spec.Vpc == vpc && s.Name != o.GetName() })
}

// SubnetsOfVpc are the Subnets that name the Vpc.
func (m Maps) SubnetsOfVpc(ctx context.Context, o client.Object) []types.NamespacedName {
	return m.SubnetsIn(ctx, o.GetName())
}

// SubnetsIn are the Subnets that name the Vpc, whether that exists or not.
func (m Maps) SubnetsIn(ctx context.Context, vpc string) []types.NamespacedName {
	return m.subnets(ctx, func(s *v1.Subnet) bool { return s.Spec.Vpc == vpc })
}

// EverySubnet ignores the object.
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

// NodesOfSubnet are all nodes if the Subnet is theirs, else none.
func (m Maps) NodesOfSubnet(ctx context.Context, o client.Object) []types.NamespacedName {
	if o.GetName() != m.NodeSubnet {
		return nil
	}
	return m.EveryNode(ctx, o)
}

// EveryNode ignores the object.
func (m Maps) EveryNode(ctx context.Context, _ client.Object) []types.NamespacedName {
	all, _ := kube.Nodes(ctx, m.Reader)
	return keys(all)
}

// PodsOnNode are the pods that are bound to the node.
func (m Maps) PodsOnNode(ctx context.Context, o client.Object) []types.NamespacedName {
	all, _ := kube.Pods(ctx, m.Reader, client.MatchingFields{kube.IndexPodNode: o.GetName()})
	return keys(all)
}

// PodsInNamespace are the pods in the namespace o.
func (m Maps) PodsInNamespace(ctx context.Context, o client.Object) []types.NamespacedName {
	all, _ := kube.Pods(ctx, m.Reader, client.InNamespace(o.GetName()))
	return keys(all)
}

// PodsOfStatefulSet are the pods of the set that have a claim, which may outlive
// the pod.
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

// EveryService ignores the object.
func (m Maps) EveryService(ctx context.Context, _ client.Object) []types.NamespacedName {
	all, _ := kube.Services(ctx, m.Reader)
	return keys(all)
}

// ServicesInNamespace are the Services in the namespace o.
func (m Maps) ServicesInNamespace(ctx context.Context, o client.Object) []types.NamespacedName {
	all, _ := kube.Services(ctx, m.Reader, client.InNamespace(o.GetName()))
	return keys(all)
}

// ServicesOfNodeIP are all Services if the claim is a node's: their members may
// be pods on that node's own network.
func (m Maps) ServicesOfNodeIP(ctx context.Context, o client.Object) []types.NamespacedName {
	if NodeOfIP(ctx, o) == nil {
		return nil
	}
	return m.EveryService(ctx, o)
}

// keys are the names of objects that were read.
func keys[O client.Object](all []O) []types.NamespacedName {
	var out []types.NamespacedName
	for _, o := range all {
		out = append(out, client.ObjectKeyFromObject(o))
	}
	return out
}
