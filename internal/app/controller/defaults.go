package controller

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// The unit cluster/<name> has what a cluster has in Neutron whatever its users
// make: security groups and the Services' network.

func (c *cluster) gatherCluster(ctx context.Context, n types.NamespacedName) (decide.ClusterFacts, error) {
	var f decide.ClusterFacts
	if c.settings.Overlay() || n.Name != c.settings.Cluster {
		return f, nil
	}
	if cl := c.cloud.Load(); c.settings.Neutron.ServiceNetwork != "" {
		if err := cl.Ready(); err != nil {
			return f, err // what is not known yet must not be made
		}
		f.ServiceNetwork, _ = cl.ServiceNetwork()
	}
	var cidrs networkingv1.ServiceCIDRList
	err := c.client.List(ctx, &cidrs)
	if err != nil {
		return f, err
	}
	f.CIDRs = kube.Pointers(cidrs.Items)
	slices.SortFunc(f.CIDRs, func(a, b *networkingv1.ServiceCIDR) int { return cmp.Compare(a.Name, b.Name) })
	if f.Subnets, err = kube.Subnets(ctx, c.client); err != nil {
		return f, err
	}
	var nodes corev1.NodeList
	if err := c.client.List(ctx, &nodes); err != nil {
		return f, err
	}
	var records kuryr.KuryrLoadBalancerList
	if err := c.client.List(ctx, &records, client.Limit(1)); err != nil {
		return f, err
	}
	f.InUse = len(records.Items) > 0 || c.cloud.Load().Ready() != nil
	f.Nodes, f.NodeVpc = nodeAddrs(nodes.Items), c.nodeVpc()
	f.Project, f.Quotas = c.cloud.Load().Project(), c.cloud.Load().Quotas()
	f.Router, err = c.router(f.NodeVpc)
	return f, err
}

// tellShort reports once that a quota may be too small.
func (c *cluster) tellShort(f decide.ClusterFacts, told decide.ClusterReport) {
	cl, main := c.cloud.Load(), f.Main()
	if cl == nil || main == nil {
		return
	}
	if cl.SetShort(told.Short) && told.Short != "" {
		c.log.Warn("a quota may be too small", "unit", c.unitOfCluster(), "err", told.Short)
		c.reporter.warn(main, "QuotaLow", told.Short)
	}
}

func (c *cluster) reportCluster(_ context.Context, f decide.ClusterFacts, told decide.ClusterReport, out unit.Outcome) error {
	c.tellShort(f, told)
	if out.State == unit.Done || slices.Contains(transient, out.Reason) {
		return nil
	}
	c.log.Warn("the cluster has not all that it needs in Neutron", "unit", c.unitOfCluster(), "reason", out.Reason, "err", out.Message)
	if main := f.Main(); main != nil {
		c.reporter.problem(main, out)
	}
	return nil
}
