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

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/fabrics"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn"
)

// lead runs from when this controller became the leader: learn who has which
// address, start the units, sweep. No address is given before all are known.
func (c *cluster) lead(ctx context.Context) error {
	c.leading.Store(true)
	f, err := ovn.Dial(ctx, ovn.Options{Owner: c.settings.Cluster, Addresses: c.settings.NBAddresses, Log: c.log})
	if err != nil {
		return err
	}
	defer f.Close()
	c.fabric.Store(f)
	ports, err := f.Ports(ctx)
	if err == nil {
		err = c.claims.Load(ctx, ports)
	}
	if err != nil {
		return fmt.Errorf("learn who has which address: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	q := c.queues
	all, err := c.fabrics(ctx, f, q)
	if err != nil {
		return err
	}
	if cl := c.cloud.Load(); cl != nil {
		defer cl.Close()
	}
	if err := c.watchRules(ctx); err != nil {
		return fmt.Errorf("learn which policies there are: %w", err)
	}
	if err := c.start(ctx, group, all, q); err != nil {
		return err
	}
	group.Go(func() error {
		err := c.sweep(ctx, f, all, q)
		if c.octavia != nil && err == nil {
			group.Go(func() error { return c.watchLoadBalancers(ctx, c.octavia, all, q) })
		}
		if cl := c.cloud.Load(); cl != nil && err == nil {
			return c.watchCloud(ctx, cl, all, q)
		}
		return err
	})
	return group.Wait()
}

// Fabrics are those that the settings name, and who has what in them as far as
// that is known: Neutron's part will be when Neutron has been read.
func (c *cluster) fabrics(ctx context.Context, f *ovn.Fabric, q *trigger.Queues) (*fabrics.Fabrics, error) {
	all := fabrics.New()
	all.Add(intent.FabricOVN, f)
	if c.settings.Neutron != nil {
		cl := c.newCloud(ctx, q.Add)
		c.cloud.Store(cl)
		all.Add(intent.FabricNeutron, cl)
		if !c.settings.Overlay() {
			c.octavia = c.newLoadBalancers(cl)
			all.Add(intent.FabricOctavia, c.octavia)
		}
	}
	owners, err := f.Units(ctx)
	if err != nil {
		return nil, fmt.Errorf("learn who has what in OVN: %w", err)
	}
	for _, u := range owners {
		all.Mark(u, intent.FabricOVN, true)
	}
	return all, c.markCloud(ctx, all)
}

// markCloud notes who has something in Neutron as far as Kubernetes tells. One
// that is deleted before Neutron has been read would seem to have nothing there,
// and its object would go before its network.
func (c *cluster) markCloud(ctx context.Context, all *fabrics.Fabrics) error {
	held, err := c.heldPorts(ctx)
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

func (c *cluster) start(ctx context.Context, group *errgroup.Group, f *fabrics.Fabrics, q *trigger.Queues) error {
	kinds := c.kinds(f)
	q.Expect(len(kinds))
	for _, k := range kinds {
		one, err := c.controller(k)
		if err != nil {
			return err
		}
		err = one.Watch(source.Func(func(_ context.Context, started trigger.Queue) error {
			q.Started(k.name, started)
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
	one, err := controller.NewUnmanaged(k.name, controller.Options{
		Reconciler: limiter{k.run, c.atMost}, MaxConcurrentReconciles: k.workers, SkipNameValidation: &again,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](10*time.Millisecond, c.atMost(longestRetry)),
		Logger:      daemon.ForLibraries(c.log),
	})
	if err != nil {
		return nil, err
	}
	for _, w := range k.triggers {
		if err := one.Watch(w.Source(c.cache)); err != nil {
			return nil, err
		}
	}
	return one, nil
}

// sweep wakes everything that is there or ought to be: whoever left something
// in OVN or an IP object and has no object any more asks for nothing now.
func (c *cluster) sweep(ctx context.Context, f *ovn.Fabric, all *fabrics.Fabrics, q *trigger.Queues) error {
	if err := q.Wait(ctx); err != nil {
		return err
	}
	changed := func(u intent.Unit) {
		all.Mark(u, intent.FabricOVN, true)
		q.Add(u)
	}
	f.Watch(ovn.Notify{
		Unit: changed, Router: func(name string) { c.routerChanged(ctx, name, q) },
		Host: func(word string) { c.hostChanged(ctx, word, q) }, Up: c.rose,
	})
	owners, err := f.Units(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, u := range owners {
		all.Mark(u, intent.FabricOVN, true)
	}
	var ips v1.IPList
	if err := c.client.List(ctx, &ips); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for i := range ips.Items {
		owners = append(owners, decide.IPUnit(&ips.Items[i]))
	}
	if c.settings.Overlay() {
		owners = append(owners, "vpc/"+v1.DefaultVpc, "subnet/"+v1.DefaultSubnet, "subnet/"+v1.JoinSubnet)
	}
	for _, u := range owners {
		q.Add(u)
	}
	return nil
}

func (c *cluster) routerChanged(ctx context.Context, name string, q *trigger.Queues) {
	q.Add(intent.Unit("vpc/" + name))
	for _, n := range c.maps().SubnetsIn(ctx, name) {
		q.Add(intent.Unit("subnet/" + n.Name))
	}
	if name == c.nodeVpc() {
		q.Add(c.unitOfCluster())
	}
}
