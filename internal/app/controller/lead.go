package controller

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/isthmus-cni/isthmus/internal/app/controller/fabrics"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/octavia"
	"github.com/isthmus-cni/isthmus/internal/ovn"
)

// lead runs while this controller is the leader: it reads which unit has which
// address, starts the units, and sweeps. No address is allocated before all are
// known.
func (c *cluster) lead(ctx context.Context) error {
	c.leading.Store(true)
	f, err := ovn.Dial(ctx, ovn.Options{Owner: c.Settings.Cluster, Addresses: c.Settings.NBAddresses, Log: c.log})
	if err != nil {
		return err
	}
	defer f.Close()
	ports, err := f.Ports(ctx)
	if err == nil {
		err = c.claims.Load(ctx, ports)
	}
	if err != nil {
		return fmt.Errorf("learn who has which address: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	c.OVN = f
	if c.Settings.Neutron != nil {
		c.Cloud = c.newCloud(ctx)
		defer c.Cloud.Close()
	}
	c.leader.Store(&c.Topology)
	all, lbs, err := c.fabrics(ctx)
	if err != nil {
		return err
	}
	if c.Settings.Neutron != nil {
		if err := c.policyEvents().Watch(ctx, c.cache); err != nil {
			return fmt.Errorf("learn which policies there are: %w", err)
		}
	}
	if err := c.start(ctx, group, all); err != nil {
		return err
	}
	group.Go(func() error { return c.watch(ctx, group, all, lbs) })
	return group.Wait()
}

// watch sweeps, and then runs units when others have changed their resources.
func (c *cluster) watch(ctx context.Context, group *errgroup.Group, all *fabrics.Fabrics, lbs *octavia.Fabric) error {
	events := ovnEvents{c.client, c.Topology, c.maps(), all, c.queues}
	if err := events.sweep(ctx); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if lbs != nil {
		group.Go(func() error { return c.watchLoadBalancers(ctx, lbs, all) })
	}
	if c.Cloud != nil {
		return c.watchCloud(ctx, all)
	}
	return nil
}

// fabrics returns the fabrics that the settings name, with the units that have
// something in them. What units have in Neutron is only known completely when
// Neutron has been read. The second result is nil without Octavia.
func (c *cluster) fabrics(ctx context.Context) (*fabrics.Fabrics, *octavia.Fabric, error) {
	all := fabrics.New()
	all.Add(intent.FabricOVN, c.OVN)
	var lbs *octavia.Fabric
	if c.Cloud != nil {
		all.Add(intent.FabricNeutron, c.Cloud)
		if !c.Settings.Overlay() {
			lbs = c.newLoadBalancers()
			all.Add(intent.FabricOctavia, lbs)
		}
	}
	owners, err := c.OVN.Units(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("learn who has what in OVN: %w", err)
	}
	for _, u := range owners {
		all.Mark(u, intent.FabricOVN, true)
	}
	return all, lbs, c.markCloud(ctx, all)
}

// markCloud marks the units that have something in Neutron according to
// Kubernetes. Otherwise a Subnet that is deleted before Neutron has been read
// would seem to have nothing there, and its object would be deleted before its
// network.
func (c *cluster) markCloud(ctx context.Context, all *fabrics.Fabrics) error {
	held, err := heldPorts(ctx, c.client)
	if err != nil {
		return err
	}
	for _, u := range held {
		all.Mark(u, intent.FabricNeutron, true)
	}
	subnets, err := kube.Subnets(ctx, c.client)
	for _, s := range subnets {
		if decide.FabricOf(s) == intent.FabricNeutron {
			all.Mark(intent.Unit("subnet/"+s.Name), intent.FabricNeutron, true)
		}
	}
	return err
}

// start starts the controllers of all kinds of units.
func (c *cluster) start(ctx context.Context, group *errgroup.Group, f *fabrics.Fabrics) error {
	kinds := c.kinds(f)
	c.queues.Expect(len(kinds))
	for _, k := range kinds {
		one, err := c.controller(k)
		if err != nil {
			return err
		}
		err = one.Watch(source.Func(func(_ context.Context, q trigger.Queue) error {
			c.queues.Started(k.name, q)
			return nil
		}))
		if err != nil {
			return err
		}
		group.Go(func() error { return one.Start(ctx) })
	}
	return nil
}

func (c *cluster) controller(k kind) (controller.Controller, error) {
	again := true // A test starts several controllers in one process.
	p := pacing(c.Settings)
	one, err := controller.NewUnmanaged(k.name, controller.Options{
		Reconciler: limiter{k.run, p.atMost}, MaxConcurrentReconciles: k.workers, SkipNameValidation: &again,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](10*time.Millisecond, p.atMost(longestRetry)),
		Logger:      daemon.ForLibraries(c.log),
	})
	if err != nil {
		return nil, err
	}
	for _, t := range k.triggers {
		if err := one.Watch(t.Source(c.cache)); err != nil {
			return nil, err
		}
	}
	return one, nil
}
