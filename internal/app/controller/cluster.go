package controller

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/isthmus-cni/isthmus/internal/app/controller/claim"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/octavia"
	"github.com/isthmus-cni/isthmus/internal/ovn"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// cluster is what the units read from and tell.
type cluster struct {
	client   client.Client
	cache    cache.Cache
	settings settings.Settings
	reporter reporter
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *unit.Metrics
	calls    *prometheus.CounterVec

	// fabric is nil until this controller leads; cloud also where there is no Neutron.
	fabric      atomic.Pointer[ovn.Fabric]
	cloud       atomic.Pointer[cloud.Cloud]
	leading     atomic.Bool
	claims      *claim.Claims
	octavia     *octavia.Fabric
	waitingPods waitingPods
	rules       *rules
	queues      *trigger.Queues
	// perNamespace is nil where no namespace has a Subnet of its own.
	perNamespace *decide.PerNamespace
}

func newCluster(ctx context.Context, m manager.Manager, o Options) (*cluster, error) {
	c := &cluster{
		client: m.GetClient(), cache: m.GetCache(), settings: o.Settings, log: o.Log,
		reporter: reporter{m.GetEventRecorder(name)}, registry: prometheus.NewRegistry(),
		claims: claim.New(m.GetClient(), o.Log), rules: newRules(), queues: trigger.NewQueues(),
	}
	c.metrics = unit.NewMetrics(c.registry)
	c.calls = newCalls(c.registry)
	c.registry.MustRegister(bookkeeper{c})
	var err error
	if c.perNamespace, err = perNamespace(o.Settings.Neutron); err != nil {
		return nil, err
	}
	return c, kube.AddIndexes(ctx, c.cache, !c.settings.Overlay())
}
