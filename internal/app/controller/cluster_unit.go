package controller

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// clusterUnit gathers and reports the unit cluster/<name>: the security groups
// and the Services' network, which a cluster needs in Neutron independent of its
// users' objects.
type clusterUnit struct {
	client   client.Client
	reporter report.Reporter
	log      *slog.Logger
	topology topology.Topology
}

func clusterUnitName(s settings.Settings) intent.Unit { return intent.Unit("cluster/" + s.Cluster) }

func (c clusterUnit) gather(ctx context.Context, n types.NamespacedName) (decide.ClusterFacts, error) {
	var f decide.ClusterFacts
	s, cloud := c.topology.Settings, c.topology.Cloud
	if s.Overlay() || n.Name != s.Cluster {
		return f, nil
	}
	if s.Neutron.ServiceNetwork != "" {
		if err := cloud.Ready(); err != nil {
			return f, err // Otherwise a second network would be created.
		}
		f.ServiceNetwork, _ = cloud.ServiceNetwork()
	}
	var err error
	if f.CIDRs, err = kube.ServiceCIDRs(ctx, c.client); err != nil {
		return f, err
	}
	slices.SortFunc(f.CIDRs, func(a, b *networkingv1.ServiceCIDR) int { return cmp.Compare(a.Name, b.Name) })
	if f.Subnets, err = kube.Subnets(ctx, c.client); err != nil {
		return f, err
	}
	nodes, err := kube.Nodes(ctx, c.client)
	if err != nil {
		return f, err
	}
	var records kuryr.KuryrLoadBalancerList
	if err := c.client.List(ctx, &records); err != nil {
		return f, err
	}
	// A record alone says only that a load balancer was asked for.
	exists := func(r kuryr.KuryrLoadBalancer) bool { return r.Status.LoadBalancer != nil }
	f.InUse = slices.ContainsFunc(records.Items, exists) || cloud.Ready() != nil
	f.Nodes, f.NodeVpc = nodeAddrs(nodes), c.topology.NodeVpc()
	f.Project, f.Quotas = cloud.Project(), cloud.Quotas()
	f.Router, err = c.topology.Router(f.NodeVpc)
	return f, err
}

// report puts events on the main ServiceCIDR, because the unit has no object of
// its own.
func (c clusterUnit) report(_ context.Context, f decide.ClusterFacts, r decide.ClusterReport, out unit.Outcome) error {
	c.reportQuotas(f, r)
	if out.State == unit.Done || slices.Contains(report.Transient, out.Reason) {
		return nil
	}
	c.log.Warn("creating what the cluster needs in Neutron failed", "unit", clusterUnitName(c.topology.Settings), "reason", out.Reason, "err", out.Message)
	if main := f.Main(); main != nil {
		c.reporter.Problem(main, out)
	}
	return nil
}

// reportQuotas reports once that a quota may be too small.
func (c clusterUnit) reportQuotas(f decide.ClusterFacts, r decide.ClusterReport) {
	main := f.Main()
	if main == nil {
		return
	}
	if c.topology.Cloud.SetLowQuotas(r.LowQuotas) && r.LowQuotas != "" {
		c.log.Warn("a quota may be too small", "unit", clusterUnitName(c.topology.Settings), "err", r.LowQuotas)
		c.reporter.Warn(main, "QuotaLow", r.LowQuotas)
	}
}
