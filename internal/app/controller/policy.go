package controller

import (
	"context"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

func (c *cluster) gatherPolicy(ctx context.Context, n types.NamespacedName) (policy.Facts, error) {
	f := policy.Facts{Namespace: n.Namespace, Name: n.Name}
	var err error
	if f.Index, f.Ports, err = c.gatherRules(ctx); err != nil {
		return f, err
	}
	if slices.Contains(f.Index.UsingServices(), n) {
		if f.Services, err = c.policyServices(ctx); err != nil {
			return f, err
		}
	}
	np, err := kube.Get[networkingv1.NetworkPolicy](ctx, c.client, n)
	if np == nil || err != nil {
		return f, err
	}
	f.CloudGroups, err = c.cloud.GroupIDs(ctx, policy.CloudGroupsOf(np))
	return f, err
}

func (c *cluster) gatherGroup(ctx context.Context, n types.NamespacedName) (policy.GroupFacts, error) {
	f := policy.GroupFacts{Unit: unit.Name("group", n)}
	var err error
	f.Index, f.Ports, err = c.gatherRules(ctx)
	return f, err
}

// gatherRules waits for Neutron: what is decided before it is known which of
// its groups there are must not be applied after that.
func (c *cluster) gatherRules(ctx context.Context) (*policy.Index, policy.PortCount, error) {
	if err := c.cloud.Ready(); err != nil {
		return nil, nil, err
	}
	book, err := c.rules.read(ctx, c.client)
	return book, c.rules.inUse(), err
}

// policyServices are all Services that have a balancer in Neutron, with the pods behind.
func (c *cluster) policyServices(ctx context.Context) ([]policy.Service, error) {
	if c.settings.Overlay() {
		return nil, nil
	}
	var all corev1.ServiceList
	if err := c.client.List(ctx, &all); err != nil {
		return nil, err
	}
	var out []policy.Service
	for _, s := range kube.Pointers(all.Items) {
		f := decide.ServiceFacts{Namespace: s.Namespace, Name: s.Name, Network: decide.ServiceNetwork, Service: s}
		if err := c.members().gather(ctx, &f); err != nil {
			return nil, err
		}
		if b, balanced := decide.Frontends(f); balanced {
			out = append(out, policy.ServiceOf(b, func(a netip.Addr) *policy.Pod { return c.podAt(ctx, a) }))
		}
	}
	return out, nil
}

// podAt is the pod that has an address, nil if none has.
func (c *cluster) podAt(ctx context.Context, a netip.Addr) *policy.Pod {
	var ips v1.IPList
	_ = c.client.List(ctx, &ips, client.MatchingFields{kube.IndexClaimAddr: a.String()})
	for _, ip := range kube.Pointers(ips.Items) {
		p, _ := kube.Get[corev1.Pod](ctx, c.client, types.NamespacedName{Namespace: ip.Spec.Namespace, Name: ip.Spec.PodName})
		if p == nil {
			continue
		}
		ns, _ := kube.Get[corev1.Namespace](ctx, c.client, types.NamespacedName{Name: p.Namespace})
		if pod, is := policyPod(p, ns, ip); is {
			return &pod
		}
	}
	return nil
}

// policyPod is a pod as policies see it; false if they are not about it.
func policyPod(p *corev1.Pod, ns *corev1.Namespace, claim *v1.IP) (policy.Pod, bool) {
	if !decide.NeedsPort(p) {
		return policy.Pod{}, false
	}
	var addrs []netip.Addr
	if claim != nil && decide.IPUnit(claim) == decide.PodUnit(p.Namespace, p.Name) {
		if decide.Attached(claim) && decide.FabricOfIP(claim) != intent.FabricNeutron {
			return policy.Pod{}, false
		}
		addrs = decide.Addrs(claim)
	}
	return policy.PodOf(p, ns, addrs), true
}

// reportPolicy tells the policy what is wrong: it has no status.
func (c *cluster) reportPolicy(ctx context.Context, f policy.Facts, _ struct{}, out unit.Outcome) error {
	return c.tellPolicy(ctx, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}, out)
}

// reportGroup tells the policies that need the group: it has no object.
func (c *cluster) reportGroup(ctx context.Context, f policy.GroupFacts, _ struct{}, out unit.Outcome) error {
	for _, n := range f.Index.ReferringTo(f.Unit, f.Ports) {
		if err := c.tellPolicy(ctx, n, out); err != nil {
			return err
		}
	}
	return nil
}

// groupInUse is the reason of a Wait for the ports that are in a group. They are
// about to leave it, which nobody need be told.
const groupInUse = "InUse"

func (c *cluster) tellPolicy(ctx context.Context, n types.NamespacedName, out unit.Outcome) error {
	np, err := kube.Get[networkingv1.NetworkPolicy](ctx, c.client, n)
	if np == nil || err != nil || out.Reason == groupInUse {
		return err
	}
	c.reporter.problem(np, out)
	return nil
}
