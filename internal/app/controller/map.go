package controller

import (
	"context"
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Here is which units an object concerns: names only. What is read here comes
// from the cache; an error there leaves nothing to do but to wake nobody.

func itself(_ context.Context, o client.Object) []types.NamespacedName {
	return []types.NamespacedName{client.ObjectKeyFromObject(o)}
}

func named(names ...string) []types.NamespacedName {
	out := make([]types.NamespacedName, 0, len(names))
	for _, n := range names {
		out = append(out, types.NamespacedName{Name: n})
	}
	return out
}

func vpcOfSubnet(_ context.Context, o client.Object) []types.NamespacedName {
	return named(o.(*v1.Subnet).Spec.Vpc)
}

func subnetOfIP(_ context.Context, o client.Object) []types.NamespacedName {
	return named(o.(*v1.IP).Spec.Subnet)
}

func nodeOfIP(_ context.Context, o client.Object) []types.NamespacedName {
	return unitOfIP(o, "node")
}

func podOfIP(_ context.Context, o client.Object) []types.NamespacedName { return unitOfIP(o, "pod") }

// unitOfIP finds the owner also where the claim says nothing: what somebody
// else wrote must be put right.
func unitOfIP(o client.Object, wanted string) []types.NamespacedName {
	ip := o.(*v1.IP)
	if k, n := nameOf(decide.IPUnit(ip)); k == wanted && n.Name != "" {
		return []types.NamespacedName{n}
	}
	return nil
}

// nameOf is the object that a unit is named after.
func nameOf(u intent.Unit) (string, types.NamespacedName) {
	kind, rest, _ := strings.Cut(string(u), "/")
	if ns, n, ok := strings.Cut(rest, "/"); ok {
		return kind, types.NamespacedName{Namespace: ns, Name: n}
	}
	return kind, types.NamespacedName{Name: rest}
}

// subnetsBeside are the others of the same Vpc: one of them may have lost
// against this one.
func (c *cluster) subnetsBeside(ctx context.Context, o client.Object) []types.NamespacedName {
	vpc := o.(*v1.Subnet).Spec.Vpc
	return c.subnetsThat(ctx, func(s *v1.Subnet) bool { return s.Spec.Vpc == vpc && s.Name != o.GetName() })
}

func (c *cluster) subnetsOfVpc(ctx context.Context, o client.Object) []types.NamespacedName {
	return c.subnetsThat(ctx, func(s *v1.Subnet) bool { return s.Spec.Vpc == o.GetName() })
}

func (c *cluster) everySubnet(ctx context.Context, _ client.Object) []types.NamespacedName {
	return c.subnetsThat(ctx, func(*v1.Subnet) bool { return true })
}

func (c *cluster) subnetsThat(ctx context.Context, fits func(*v1.Subnet) bool) []types.NamespacedName {
	all, _ := c.subnets(ctx)
	var out []types.NamespacedName
	for _, s := range all {
		if fits(s) {
			out = append(out, types.NamespacedName{Name: s.Name})
		}
	}
	return out
}

func (c *cluster) nodesIfJoin(ctx context.Context, o client.Object) []types.NamespacedName {
	if o.GetName() != c.nodeSubnet() {
		return nil
	}
	return c.everyNode(ctx, o)
}

func (c *cluster) everyNode(ctx context.Context, _ client.Object) []types.NamespacedName {
	var nodes corev1.NodeList
	_ = c.client.List(ctx, &nodes)
	var out []types.NamespacedName
	for i := range nodes.Items {
		out = append(out, types.NamespacedName{Name: nodes.Items[i].Name})
	}
	return out
}

func (c *cluster) wantingPods(context.Context, client.Object) []types.NamespacedName {
	return c.wanting.all()
}

func (c *cluster) podsOnNode(ctx context.Context, o client.Object) []types.NamespacedName {
	var pods corev1.PodList
	_ = c.client.List(ctx, &pods, client.MatchingFields{indexNode: o.GetName()})
	var out []types.NamespacedName
	for i := range pods.Items {
		out = append(out, client.ObjectKeyFromObject(&pods.Items[i]))
	}
	return out
}

// podsOfStatefulSet are those that have a claim which may outlive them.
func (c *cluster) podsOfStatefulSet(ctx context.Context, o client.Object) []types.NamespacedName {
	var ips v1.IPList
	_ = c.client.List(ctx, &ips, client.MatchingFields{indexSticky: o.GetNamespace()})
	var out []types.NamespacedName
	for i := range ips.Items {
		if set, _, ok := ordinal(ips.Items[i].Spec.PodName); ok && set == o.GetName() {
			out = append(out, podOfIP(ctx, &ips.Items[i])...)
		}
	}
	return out
}

// Indexes of the cache.
const (
	indexNode   = "node"
	indexSticky = "sticky"
	indexMAC    = "mac"
	indexAddr   = "addr"
	indexClue   = "clue"
	indexNested = "nested"
)

func (c *cluster) index(ctx context.Context) error {
	err := errors.Join(
		c.indexBy(ctx, &corev1.Pod{}, indexNode, func(o client.Object) string { return o.(*corev1.Pod).Spec.NodeName }),
		c.indexBy(ctx, &v1.IP{}, indexMAC, func(o client.Object) string { return o.(*v1.IP).Spec.MacAddress }),
		c.indexBy(ctx, &v1.IP{}, indexSticky, stickyIn),
		c.cache.IndexField(ctx, &corev1.Node{}, indexClue, cluesOfNode),
		c.indexBy(ctx, &corev1.Node{}, indexNested, nested),
	)
	if err != nil || c.settings.Overlay() {
		return err
	}
	return errors.Join(
		c.indexBy(ctx, &discoveryv1.EndpointSlice{}, indexService, nameOfService),
		c.cache.IndexField(ctx, &v1.IP{}, indexAddr, addrsOfIP),
	)
}

func (c *cluster) indexBy(ctx context.Context, of client.Object, name string, key func(client.Object) string) error {
	return c.cache.IndexField(ctx, of, name, func(o client.Object) []string {
		if k := key(o); k != "" {
			return []string{k}
		}
		return nil
	})
}

func addrsOfIP(o client.Object) []string {
	var out []string
	for _, a := range decide.Addrs(o.(*v1.IP)) {
		out = append(out, a.String())
	}
	return out
}

func stickyIn(o client.Object) string {
	if ip := o.(*v1.IP); ip.Spec.PodType == decide.StatefulSet {
		return ip.Spec.Namespace
	}
	return ""
}
