package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/fabrics"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/octavia"
)

// newCloud returns Neutron, not yet read.
func (c *cluster) newCloud(ctx context.Context, changed func(intent.Unit)) *cloud.Cloud {
	return cloud.New(ctx, cloud.Options{
		Owner: c.settings.Cluster, Settings: *c.settings.Neutron, Changed: changed, PortUp: c.portUp,
		NodeExists: func(node string) bool { return c.nodeExists(ctx, node) },
		Count:      c.countCalls("neutron"), Log: c.log,
	})
}

// nodeExists is false for a node that is known to be gone.
func (c *cluster) nodeExists(ctx context.Context, name string) bool {
	n, err := kube.Get[corev1.Node](ctx, c.client, types.NamespacedName{Name: name})
	return n != nil || err != nil
}

// watchCloud reads Neutron now and then, and lets the units run that it concerns.
func (c *cluster) watchCloud(ctx context.Context, cl *cloud.Cloud, f *fabrics.Fabrics, q *trigger.Queues) error {
	return cl.Watch(ctx, cloud.Watcher{
		Ports: c.heldPorts, Changed: q.Add,
		Owns:  func(u intent.Unit) { f.Mark(u, intent.FabricNeutron, true) },
		First: func(ctx context.Context) { c.runAll(ctx, q) },
		Then: func(ctx context.Context) error {
			if !c.settings.Overlay() && cl.ReadQuotas(ctx) {
				q.Add(c.unitOfCluster())
			}
			return c.keepPools(ctx, "")
		},
		Every: c.settings.Neutron.LookEvery.Duration, Backoff: c.backoff(),
	})
}

// heldPorts returns the ids of Neutron's ports that claims name, and their units.
func (c *cluster) heldPorts(ctx context.Context) (map[string]intent.Unit, error) {
	ips, err := kube.IPs(ctx, c.client)
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

// runAll lets all units run that may have waited for Neutron.
func (c *cluster) runAll(ctx context.Context, q *trigger.Queues) {
	q.Add(c.unitOfCluster())
	if !c.settings.Overlay() {
		q.Add(intent.Unit("subnet/" + v1.PodSubnet))
		for _, n := range c.maps().EveryService(ctx, nil) {
			q.Add(decide.ServiceUnit(n.Namespace, n.Name))
		}
	}
	nodes, nodesErr := kube.Nodes(ctx, c.client)
	ips, ipsErr := kube.IPs(ctx, c.client)
	pods, podsErr := kube.Pods(ctx, c.client) // All of them: any may have begun to wait.
	err := errors.Join(c.wakeRules(ctx), c.wakeOwnSubnets(ctx, q), nodesErr, ipsErr, podsErr)
	if err != nil {
		c.log.Warn("running every unit failed", "err", err)
	}
	for _, s := range c.maps().EverySubnet(ctx, nil) {
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

func (c *cluster) unitOfCluster() intent.Unit { return intent.Unit("cluster/" + c.settings.Cluster) }

// balancerPause is how long a load balancer is left alone that is in error again.
const balancerPause = 5 * time.Second

// newLoadBalancers returns Octavia, with the networks as Neutron has them.
func (c *cluster) newLoadBalancers(cl *cloud.Cloud) *octavia.Fabric {
	n := c.settings.Neutron
	return octavia.New(octavia.Options{
		Owner: c.settings.Cluster, Cloud: n.Cloud, CloudsFile: n.CloudsFile, Provider: n.LoadBalancerProvider,
		Subnet: cl.SubnetID, RecreateDelay: c.atMost(balancerPause), Count: c.countCalls("octavia"), Log: c.log,
	})
}

// watchLoadBalancers finds what deleted Services have left in Octavia, and then
// what others change there.
func (c *cluster) watchLoadBalancers(ctx context.Context, b *octavia.Fabric, f *fabrics.Fabrics, q *trigger.Queues) error {
	changed := func(u intent.Unit) {
		f.Mark(u, intent.FabricOctavia, true)
		q.Add(u)
	}
	err := c.backoff().Until(ctx, func(ctx context.Context) error {
		owners, err := b.Units(ctx)
		for _, u := range owners {
			changed(u)
		}
		return err
	}, func(err error) { c.log.Warn("reading Octavia failed, trying again", "err", err) })
	if err != nil {
		return err
	}
	b.Watch(ctx, c.settings.Neutron.LookEvery.Duration, changed)
	return ctx.Err()
}
