package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/claim"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// nodeUnit gathers and reports nodes.
type nodeUnit struct {
	client   client.Client
	reporter report.Reporter
	topology topology.Topology
	claims   *claim.Claims
	pools    pools
}

func (u nodeUnit) gather(ctx context.Context, n types.NamespacedName) (decide.NodeFacts, error) {
	f := decide.NodeFacts{Name: n.Name, Leases: u.claims.Leases()}
	var err error
	if f.Node, err = kube.Get[corev1.Node](ctx, u.client, n); err != nil {
		return f, err
	}
	if f.Claim, err = kube.Get[v1.IP](ctx, u.client, types.NamespacedName{Name: decide.NodePort(n.Name)}); err != nil {
		return f, err
	}
	// Until the agent has reported the node's plug, the node may be nested, and
	// then it needs no port.
	if f.Node != nil && f.Claim == nil && !decide.PlugKnown(f.Node) {
		return f, intent.Wait{Reason: "PlugUnknown", For: "the agent on Node " + n.Name + " to tell how pods are plugged there"}
	}
	f.NodeVpc = u.topology.NodeVpc()
	if f.Nested = decide.Nested(f.Node); f.Nested {
		if f.Parent, err = u.topology.Parent(decide.ParentPortSelectorOf(f.Node, nil)); err != nil {
			return f, err
		}
	}
	f.NodeSubnet, err = kube.Get[v1.Subnet](ctx, u.client, types.NamespacedName{Name: u.topology.NodeSubnet()})
	if err != nil || u.topology.Settings.Overlay() {
		return f, err
	}
	main, err := kube.Get[networkingv1.ServiceCIDR](ctx, u.client, types.NamespacedName{Name: decide.MainCIDR})
	f.Services = decide.ServicePrefixes(main)
	return f, err
}

func (u nodeUnit) report(ctx context.Context, f decide.NodeFacts, ip *v1.IP, out unit.Outcome) error {
	if f.Node != nil {
		u.reporter.Problem(f.Node, out)
	} else if err := u.pools.drain(ctx, ""); err != nil {
		return err
	}
	name := decide.NodeUnit(f.Name)
	if err := u.claims.Bind(name, ip, out); err != nil {
		return err
	}
	if err := u.claims.Report(ctx, name, f.Claim, ip, out); err != nil || f.Parent == nil {
		return err
	}
	return u.pools.expectPods(ctx, f.Name, f.Parent)
}
