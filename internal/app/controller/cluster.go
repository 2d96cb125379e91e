package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/ipam"
	"github.com/isthmus-cni/isthmus/internal/ovn"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// cluster is what the units read from and tell.
type cluster struct {
	client   client.Client
	cache    cache.Cache
	settings settings.Settings
	events   events.EventRecorder
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *unit.Metrics
	calls    *prometheus.CounterVec

	// fabric is nil until this controller leads; cloud also where there is no Neutron.
	fabric  atomic.Pointer[ovn.Fabric]
	cloud   atomic.Pointer[cloud]
	leading atomic.Bool
	book    ipam.Allocator
	wanting wanting
	rules   *rules
	queues  *queues
	// perNamespace is nil where no namespace has a Subnet of its own.
	perNamespace *decide.PerNamespace
}

func newCluster(ctx context.Context, m manager.Manager, o Options) (*cluster, error) {
	c := &cluster{
		client: m.GetClient(), cache: m.GetCache(), settings: o.Settings, log: o.Log,
		events: m.GetEventRecorder(name), registry: prometheus.NewRegistry(),
		rules: newRules(), queues: &queues{of: map[string]queue{}},
	}
	c.metrics = unit.NewMetrics(c.registry)
	c.calls = newCalls(c.registry)
	c.registry.MustRegister(bookkeeper{c})
	var err error
	if c.perNamespace, err = perNamespace(o.Settings.Neutron); err != nil {
		return nil, err
	}
	return c, c.index(ctx)
}

// router is the one of that name as decide sees it, nil if there is none. Where
// the network cannot be seen now, that is an error: that a router is not to be
// found would then mean nothing.
func (c *cluster) router(name string) (*decide.Router, error) {
	f := c.fabric.Load()
	r, ok := f.Router(name)
	switch {
	case !f.Connected():
		return nil, fmt.Errorf("OVN's northbound database %v cannot be reached", c.settings.NBAddresses)
	case !ok:
		return nil, nil
	}
	seen := &decide.Router{Name: r.Name, Ours: r.Ours, Networks: r.Networks, MTU: r.MTU}
	for _, n := range r.Interfaces {
		seen.Interfaces = append(seen.Interfaces, decide.RouterInterface(n))
	}
	return seen, nil
}

// get reads an object from the cache, nil if it is not there.
func get[T any, P interface {
	*T
	client.Object
}](ctx context.Context, r client.Reader, n types.NamespacedName) (P, error) {
	o := P(new(T))
	err := r.Get(ctx, n, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (c *cluster) subnets(ctx context.Context) ([]*v1.Subnet, error) {
	var l v1.SubnetList
	if err := c.client.List(ctx, &l); err != nil {
		return nil, err
	}
	return pointers(l.Items), nil
}

func (c *cluster) vpcs(ctx context.Context) ([]*v1.Vpc, error) {
	var l v1.VpcList
	if err := c.client.List(ctx, &l); err != nil {
		return nil, err
	}
	return pointers(l.Items), nil
}

func pointers[T any](items []T) []*T {
	out := make([]*T, 0, len(items))
	for i := range items {
		out = append(out, &items[i])
	}
	return out
}

// soonOver are reasons that nobody needs to be told of.
var soonOver = []string{decide.NotBound, neutronUnread, namespaceUnread, "WaitingForSegment", "WaitingForGroup", ovn.PortNotUp}

// tell puts a problem before the eyes of whoever asks about the object.
func (c *cluster) tell(o client.Object, out unit.Outcome) {
	if out.State == unit.Done || slices.Contains(soonOver, out.Reason) {
		return
	}
	c.events.Eventf(o, nil, corev1.EventTypeWarning, out.Reason, "Connect", "%s", out.Message)
}

// wanting are the pods that have no claim and want one: whatever may change
// that wakes them all, for which one it helps is for decide to say.
type wanting struct {
	mu   sync.Mutex
	pods map[types.NamespacedName]struct{}
}

func (w *wanting) set(n types.NamespacedName, wants bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !wants {
		delete(w.pods, n)
		return
	}
	if w.pods == nil {
		w.pods = map[types.NamespacedName]struct{}{}
	}
	w.pods[n] = struct{}{}
}

func (w *wanting) all() []types.NamespacedName {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]types.NamespacedName, 0, len(w.pods))
	for n := range w.pods {
		out = append(out, n)
	}
	return out
}
