package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// usingServices are the policies to look at when a Service changed, or who stands behind one.
func (c *cluster) usingServices(ctx context.Context, _ client.Object) []types.NamespacedName {
	book, err := c.rules.read(ctx, c.client)
	if err != nil {
		return nil
	}
	return book.UsingServices()
}

// policyChanged wakes the policy, the groups of its peers, and the pods that it
// is about, or was.
func (c *cluster) policyChanged(ctx context.Context, before, after *networkingv1.NetworkPolicy, first bool) {
	if before != nil && after != nil && before.UID == after.UID && before.Generation == after.Generation {
		return
	}
	c.rules.forget()
	if first {
		return // See wakeRules.
	}
	for _, u := range c.concerned(ctx, before, after) {
		c.queues.Add(u)
	}
}

// concerned are the units that a policy is about, as it was and as it is; nil if it was or is not.
func (c *cluster) concerned(ctx context.Context, states ...*networkingv1.NetworkPolicy) []intent.Unit {
	ports := c.rules.inUse()
	var units []intent.Unit
	var about []func(policy.Pod) bool
	for _, np := range states {
		if np == nil {
			continue
		}
		units = append(units, policy.Unit(np.Namespace, np.Name))
		units = append(units, policy.SharedGroups(np, ports)...)
		about = append(about, policy.Affects(np))
	}
	for _, n := range c.podsThat(ctx, about...) {
		units = append(units, decide.PodUnit(n.Namespace, n.Name))
	}
	return units
}

// portsChanged wakes the policies and groups that speak of a port's name, if
// the pod is the first to have it at that number, or was the last.
func (c *cluster) portsChanged(ctx context.Context, before, after *corev1.Pod, first bool) {
	changed := c.rules.count(namedPorts(before), namedPorts(after))
	if len(changed) == 0 || first {
		return
	}
	book, err := c.rules.read(ctx, c.client)
	if err != nil {
		return
	}
	policies, groups := book.UsingPorts(changed)
	for _, n := range policies {
		c.queues.Add(policy.Unit(n.Namespace, n.Name))
	}
	for _, g := range groups {
		c.queues.Add(g)
	}
}

func namedPorts(p *corev1.Pod) []policy.NamedPort {
	if !decide.NeedsPort(p) {
		return nil
	}
	return policy.NamedPortsOf(p)
}

// podsThat are the pods in Neutron of which one of these is true.
func (c *cluster) podsThat(ctx context.Context, fit ...func(policy.Pod) bool) []types.NamespacedName {
	var pods corev1.PodList
	var spaces corev1.NamespaceList
	if c.client.List(ctx, &pods) != nil || c.client.List(ctx, &spaces) != nil {
		return nil
	}
	of := map[string]*corev1.Namespace{}
	for _, ns := range kube.Pointers(spaces.Items) {
		of[ns.Name] = ns
	}
	var out []types.NamespacedName
	for _, p := range kube.Pointers(pods.Items) {
		claim, _ := kube.Get[v1.IP](ctx, c.client, types.NamespacedName{Name: decide.PodPort(p.Namespace, p.Name)})
		pod, is := policyPod(p, of[p.Namespace], claim)
		for _, fits := range fit {
			if is && fits(pod) {
				out = append(out, client.ObjectKeyFromObject(p))
				break
			}
		}
	}
	return out
}

// wakeRules wakes all policies and all groups that there are to be.
func (c *cluster) wakeRules(ctx context.Context) error {
	book, err := c.rules.read(ctx, c.client)
	if err != nil {
		return err
	}
	for _, n := range book.All() {
		c.queues.Add(policy.Unit(n.Namespace, n.Name))
	}
	for u := range book.Groups(c.rules.inUse()) {
		c.queues.Add(u)
	}
	return nil
}
