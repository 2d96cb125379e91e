package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/isthmus-cni/isthmus/internal/app/controller/claim"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/policies"
	"github.com/isthmus-cni/isthmus/internal/app/controller/poolserver"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/services"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// cluster is the state that the units share.
type cluster struct {
	client   client.Client
	cache    cache.Cache
	reporter report.Reporter
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *unit.Metrics
	calls    *prometheus.CounterVec

	// leading is true once this controller leads. Topology is complete when OVN
	// and Neutron are connected. leader points to it from then on; other
	// goroutines must read it by leader.
	leading atomic.Bool
	leader  atomic.Pointer[topology.Topology]
	topology.Topology

	claims      *claim.Claims
	waitingPods waitingPods
	policies    *policies.Index
	queues      *trigger.Queues
	// perNamespace is nil if no namespace has a Subnet of its own.
	perNamespace *decide.PerNamespace
}

func newCluster(ctx context.Context, m manager.Manager, o Options) (*cluster, error) {
	c := &cluster{
		client: m.GetClient(), cache: m.GetCache(), Topology: topology.Topology{Settings: o.Settings}, log: o.Log,
		reporter: report.Reporter{Events: m.GetEventRecorder(name)}, registry: prometheus.NewRegistry(),
		claims: claim.New(m.GetClient(), o.Log), policies: policies.NewIndex(), queues: trigger.NewQueues(),
	}
	c.metrics = unit.NewMetrics(c.registry)
	c.calls = newCalls(c.registry)
	c.registry.MustRegister(collector{c})
	var err error
	if c.perNamespace, err = perNamespace(o.Settings.Neutron); err != nil {
		return nil, err
	}
	return c, kube.AddIndexes(ctx, c.cache, !c.Settings.Overlay())
}

func (c *cluster) projects() topology.Projects {
	return topology.Projects{Client: c.client, Cloud: c.Cloud}
}

func (c *cluster) pools() pools { return pools{c.client, c.Topology, c.projects()} }

func (c *cluster) members() services.Members {
	return services.Members{Client: c.client, Topology: c.Topology}
}

func (c *cluster) namespaces() namespaceSubnets {
	return namespaceSubnets{c.client, c.Topology, c.perNamespace}
}

func (c *cluster) policyEvents() policies.Events {
	return policies.Events{Client: c.client, Index: c.policies, Queues: c.queues}
}

func (c *cluster) maps() trigger.Maps {
	return trigger.Maps{Reader: c.client, NodeSubnet: c.NodeSubnet()}
}

func (c *cluster) triggers() triggers {
	return triggers{c.Settings, c.maps(), c.namespaces(), c.policyEvents(), &c.waitingPods}
}

func (c *cluster) pods() podUnit {
	return podUnit{c.Topology, c.client, c.reporter, c.claims, c.projects(), c.policies, &c.waitingPods, c.perNamespace}
}

// poolHandler answers kubectl ko pool. It errs if this controller does not lead.
func (c *cluster) poolHandler() (poolserver.Handler, error) {
	t := c.leader.Load()
	if t == nil {
		return poolserver.Handler{}, errors.New("this controller does not lead: the pools are the leader's")
	}
	return pools{c.client, *t, topology.Projects{Client: c.client, Cloud: t.Cloud}}.handler()
}
