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
	"github.com/isthmus-cni/isthmus/internal/app/controller/poolserver"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// cluster is what the units share.
type cluster struct {
	client   client.Client
	cache    cache.Cache
	reporter reporter
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *unit.Metrics
	calls    *prometheus.CounterVec

	// leading is true once this controller leads. topology is complete, and leader
	// points to it, when OVN and Neutron are there; nobody else may read it before.
	leading atomic.Bool
	leader  atomic.Pointer[topology]
	topology

	claims      *claim.Claims
	waitingPods waitingPods
	policies    *policyIndex
	queues      *trigger.Queues
	// perNamespace is nil where no namespace has a Subnet of its own.
	perNamespace *decide.PerNamespace
}

func newCluster(ctx context.Context, m manager.Manager, o Options) (*cluster, error) {
	c := &cluster{
		client: m.GetClient(), cache: m.GetCache(), topology: topology{settings: o.Settings}, log: o.Log,
		reporter: reporter{m.GetEventRecorder(name)}, registry: prometheus.NewRegistry(),
		claims: claim.New(m.GetClient(), o.Log), policies: newPolicyIndex(), queues: trigger.NewQueues(),
	}
	c.metrics = unit.NewMetrics(c.registry)
	c.calls = newCalls(c.registry)
	c.registry.MustRegister(collector{c})
	var err error
	if c.perNamespace, err = perNamespace(o.Settings.Neutron); err != nil {
		return nil, err
	}
	return c, kube.AddIndexes(ctx, c.cache, !c.settings.Overlay())
}

func (c *cluster) projects() projects { return projects{c.client, c.cloud} }

func (c *cluster) pools() pools { return pools{c.client, c.topology, c.projects()} }

func (c *cluster) members() members { return members{c.client, c.topology} }

func (c *cluster) namespaces() namespaceSubnets {
	return namespaceSubnets{c.client, c.topology, c.perNamespace}
}

func (c *cluster) policyEvents() policyEvents { return policyEvents{c.client, c.policies, c.queues} }

func (c *cluster) maps() trigger.Maps {
	return trigger.Maps{Reader: c.client, NodeSubnet: c.nodeSubnet()}
}

func (c *cluster) triggers() triggers {
	return triggers{c.settings, c.maps(), c.namespaces(), c.policyEvents(), &c.waitingPods}
}

// poolHandler answers kubectl ko pool. It errs if this controller does not lead.
func (c *cluster) poolHandler() (poolserver.Handler, error) {
	t := c.leader.Load()
	if t == nil {
		return poolserver.Handler{}, errors.New("this controller does not lead: the pools are the leader's")
	}
	return pools{c.client, *t, projects{c.client, t.cloud}}.handler()
}
