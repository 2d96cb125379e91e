package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

func (c *cluster) gatherNode(ctx context.Context, n types.NamespacedName) (decide.NodeFacts, error) {
	f := decide.NodeFacts{Name: n.Name, Leases: c.claims.Leases()}
	var err error
	if f.Node, err = kube.Get[corev1.Node](ctx, c.client, n); err != nil {
		return f, err
	}
	if f.Claim, err = kube.Get[v1.IP](ctx, c.client, types.NamespacedName{Name: decide.NodePort(n.Name)}); err != nil {
		return f, err
	}
	// A virtual machine is not given what only others need, for the moment until it is known as one.
	if f.Node != nil && f.Claim == nil && !decide.PlugKnown(f.Node) {
		return f, intent.Wait{Reason: "PlugUnknown", For: "the agent on Node " + n.Name + " to tell how pods are plugged there"}
	}
	f.NodeVpc = c.nodeVpc()
	if f.Nested = decide.Nested(f.Node); f.Nested {
		if f.Parent, err = c.parent(decide.ParentPortSelectorOf(f.Node, nil)); err != nil {
			return f, err
		}
	}
	if f.Join, err = kube.Get[v1.Subnet](ctx, c.client, types.NamespacedName{Name: c.nodeSubnet()}); err != nil || c.settings.Overlay() {
		return f, err
	}
	main, err := kube.Get[networkingv1.ServiceCIDR](ctx, c.client, types.NamespacedName{Name: decide.MainCIDR})
	f.Services = decide.ServicePrefixes(main)
	return f, err
}

func (c *cluster) reportNode(ctx context.Context, f decide.NodeFacts, ip *v1.IP, out unit.Outcome) error {
	if f.Node != nil {
		c.reporter.problem(f.Node, out)
	} else if err := c.keepPools(ctx, ""); err != nil {
		return err
	}
	if err := c.claims.Bind(decide.NodeUnit(f.Name), ip, out); err != nil {
		return err
	}
	if err := c.claims.Report(ctx, decide.NodeUnit(f.Name), f.Claim, ip, out); err != nil || f.Parent == nil {
		return err
	}
	return c.expectPods(ctx, f.Name, f.Parent)
}
