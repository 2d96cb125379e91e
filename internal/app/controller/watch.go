package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/fabrics"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/service"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/octavia"
)

// newCloud returns Neutron's fabric, which has not been read yet.
func (c *cluster) newCloud(ctx context.Context) *cloud.Cloud {
	return cloud.New(ctx, cloud.Options{
		Owner: c.Settings.Cluster, Settings: *c.Settings.Neutron, Changed: c.queues.Add, PortUp: c.OVN.PortUp,
		NodeExists: func(node string) bool { return nodeExists(ctx, c.client, node) },
		Count:      c.countCalls("neutron"), Log: c.log,
	})
}

// nodeExists is false for a node that certainly does not exist.
func nodeExists(ctx context.Context, r client.Reader, name string) bool {
	n, err := kube.Get[corev1.Node](ctx, r, types.NamespacedName{Name: name})
	return n != nil || err != nil
}

// watchCloud reads Neutron at intervals, and runs the units whose resources have
// changed.
func (c *cluster) watchCloud(ctx context.Context, f *fabrics.Fabrics) error {
	return c.Cloud.Watch(ctx, cloud.Watcher{
		Ports:   func(ctx context.Context) (map[string]intent.Unit, error) { return heldPorts(ctx, c.client) },
		Owns:    func(u intent.Unit) { f.Mark(u, intent.FabricNeutron, true) },
		Changed: c.queues.Add, AfterFirst: c.runAll,
		AfterEach: func(ctx context.Context) error {
			if !c.Settings.Overlay() && c.Cloud.ReadQuotas(ctx) {
				c.queues.Add(clusterUnitName(c.Settings))
			}
			return c.pools().drain(ctx, "")
		},
		Every: c.Settings.Neutron.LookEvery.Duration, Backoff: pacing(c.Settings).backoff(),
	})
}

// heldPorts returns the ids of the Neutron ports that claims name, and their
// units.
func heldPorts(ctx context.Context, r client.Reader) (map[string]intent.Unit, error) {
	ips, err := kube.IPs(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("list claims: %w", err)
	}
	held := map[string]intent.Unit{}
	for _, ip := range ips {
		if id := decide.CloudPort(ip); id != "" {
			held[id] = decide.IPUnit(ip)
		}
	}
	return held, nil
}

// runAll runs all units that may have waited for Neutron.
func (c *cluster) runAll(ctx context.Context) {
	q, maps := c.queues, c.maps()
	q.Add(clusterUnitName(c.Settings))
	if !c.Settings.Overlay() {
		q.Add(intent.Unit("subnet/" + v1.PodSubnet))
		for _, n := range maps.EveryService(ctx, nil) {
			q.Add(service.Unit(n.Namespace, n.Name))
		}
	}
	nodes, nodesErr := kube.Nodes(ctx, c.client)
	ips, ipsErr := kube.IPs(ctx, c.client)
	pods, podsErr := kube.Pods(ctx, c.client) // All pods, because any of them may be waiting.
	err := errors.Join(c.policyEvents().RunAll(ctx), c.namespaces().runAll(ctx, q), nodesErr, ipsErr, podsErr)
	if err != nil {
		c.log.Warn("running every unit failed", "err", err)
	}
	for _, s := range maps.EverySubnet(ctx, nil) {
		q.Add(intent.Unit("subnet/" + s.Name))
	}
	for _, n := range nodes {
		q.Add(decide.NodeUnit(n.Name))
	}
	for _, ip := range ips {
		q.Add(decide.IPUnit(ip))
	}
	for _, p := range pods {
		q.Add(decide.PodUnit(p.Namespace, p.Name))
	}
}

// recreateDelay is the pause before a load balancer that failed repeatedly is
// created again.
const recreateDelay = 5 * time.Second

// newLoadBalancers returns Octavia's fabric. It uses Neutron's subnets.
func (c *cluster) newLoadBalancers() *octavia.Fabric {
	n := c.Settings.Neutron
	return octavia.New(octavia.Options{
		Owner: c.Settings.Cluster, Cloud: n.Cloud, CloudsFile: n.CloudsFile, Provider: n.LoadBalancerProvider,
		Subnet: c.Cloud.SubnetID, RecreateDelay: pacing(c.Settings).atMost(recreateDelay), Count: c.countCalls("octavia"), Log: c.log,
	})
}

// watchLoadBalancers runs the Services that have something in Octavia, also
// deleted ones, and then those whose resources others change there.
func (c *cluster) watchLoadBalancers(ctx context.Context, b *octavia.Fabric, f *fabrics.Fabrics) error {
	changed := func(u intent.Unit) {
		f.Mark(u, intent.FabricOctavia, true)
		c.queues.Add(u)
	}
	err := pacing(c.Settings).backoff().Until(ctx, func(ctx context.Context) error {
		owners, err := b.Units(ctx)
		for _, u := range owners {
			changed(u)
		}
		return err
	}, func(err error) { c.log.Warn("reading Octavia failed, trying again", "err", err) })
	if err != nil {
		return err
	}
	b.Watch(ctx, c.Settings.Neutron.LookEvery.Duration, changed)
	return ctx.Err()
}
