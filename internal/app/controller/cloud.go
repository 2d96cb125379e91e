package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/portpool"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// cloud is Neutron once it has been read: before that nobody knows which port
// is whose, so nothing is applied.
type cloud struct {
	*neutron.Fabric
	settings settings.Neutron
	log      *slog.Logger

	// read is true once all that is ours has been; why says what keeps us.
	read   atomic.Bool
	why    atomic.Pointer[string]
	router atomic.Pointer[string]
	// external is the network of floating IPs, nil until somebody needs it.
	external atomic.Pointer[string]
	// pods and services are the networks that the settings give.
	pods, services atomic.Pointer[string]

	mu       sync.Mutex
	groups   map[string]string // ids of OpenStack's security groups, by name
	projects map[string]bool   // ids of projects that are there
	quota    map[string]decide.Quota
	short    string // what was last told of it
}

// Reasons of a Wait for Neutron: at every start, and where it cannot be reached.
const (
	neutronUnread = "NeutronUnread"
	neutronAway   = "NeutronAway"
)

func (c *cluster) newCloud(ctx context.Context, changed func(intent.Unit)) *cloud {
	n := *c.settings.Neutron
	cl := &cloud{settings: n, log: c.log, groups: map[string]string{}, projects: map[string]bool{}}
	o := neutron.Options{
		Owner: c.settings.Cluster, Cloud: n.Cloud, CloudsFile: n.CloudsFile, Changed: changed, Pause: n.LookEvery.Duration,
		Up: c.portUp, Count: c.countCalls("neutron"), Log: c.log,
	}
	if *n.Pool.Min > 0 {
		o.Pool = &portpool.Limits{Min: *n.Pool.Min, Max: n.Pool.Max, Batch: n.Pool.Batch}
		o.AlwaysFilled, o.NodeExists = cl.standardSet, func(node string) bool { return c.nodeThere(ctx, node) }
	}
	cl.Fabric = neutron.New(ctx, o)
	return cl
}

// Apply waits, for an event of the controller's own, until Neutron has been read.
func (c *cloud) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	if err := c.unread(); err != nil {
		return intent.Observed{}, err
	}
	return c.Fabric.Apply(ctx, u, w)
}

// unread is nil once Neutron has been read.
func (c *cloud) unread() error {
	if c.read.Load() {
		return nil
	}
	why := c.why.Load()
	if why == nil {
		return intent.Wait{Reason: neutronUnread, For: "Neutron, which is being read"}
	}
	return intent.Wait{Reason: neutronAway, For: "Neutron: " + *why}
}

// look reads all that is ours, and finds what the settings name. It returns the
// units that have something else than they had.
func (c *cloud) look(ctx context.Context, held map[string]intent.Unit) ([]intent.Unit, error) {
	err := errors.Join(
		c.findOnce(ctx, neutron.Router, c.settings.Router, &c.router),
		c.findOnce(ctx, neutron.Network, c.settings.PodNetwork, &c.pods),
		c.findOnce(ctx, neutron.Network, c.settings.ServiceNetwork, &c.services),
	)
	if err != nil {
		return nil, err
	}
	c.findAgain(ctx)
	for _, name := range c.settings.SecurityGroups {
		if _, err := c.groupID(ctx, name); err != nil {
			return nil, err
		}
	}
	return c.Refresh(ctx, held)
}

// findOnce learns the id of what the settings name, if they do.
func (c *cloud) findOnce(ctx context.Context, what, name string, at *atomic.Pointer[string]) error {
	if name == "" || at.Load() != nil {
		return nil
	}
	id, err := c.Find(ctx, what, name)
	if err == nil {
		at.Store(&id)
	}
	return err
}

// given is the id of what the settings name, empty where they name nothing;
// false before it was found.
func given(name string, at *atomic.Pointer[string]) (string, bool) {
	if name == "" {
		return "", true
	}
	id := at.Load()
	if id == nil {
		return "", false
	}
	return *id, true
}

// network is a Subnet's, as Neutron has it.
func (c *cloud) network(subnet string) (decide.CloudNetwork, bool) {
	s, known := c.Segment(decide.NetworkName(subnet))
	n := decide.CloudNetwork{ID: s.ID, MTU: s.MTU}
	for _, sub := range s.Subnets {
		n.Prefixes = append(n.Prefixes, sub.Prefix)
		if sub.Gateway.IsValid() {
			n.Gateways = append(n.Gateways, sub.Gateway)
		}
	}
	return n, known && s.ID != ""
}

// home is the Vpc that the nodes are in. Before its router was found it has a
// name that no Vpc has.
func (c *cluster) home() string {
	if c.settings.Overlay() {
		return v1.DefaultVpc
	}
	if cl := c.cloud.Load(); cl != nil {
		if id := cl.router.Load(); id != nil {
			return "neutron-" + *id
		}
	}
	return "neutron-" + c.settings.Neutron.Router
}

// homeKnown tells whether home is more than a name.
func (c *cluster) homeKnown() bool {
	cl := c.cloud.Load()
	return cl != nil && cl.router.Load() != nil
}

// nodeSubnet is the Subnet that nodes have a port on.
func (c *cluster) nodeSubnet() string {
	if c.settings.Overlay() {
		return v1.JoinSubnet
	}
	return v1.PodSubnet
}

// watchCloud reads Neutron at the start, as often as it takes, and then now and
// then for what others changed.
func (c *cluster) watchCloud(ctx context.Context, cl *cloud, f *fabrics, q *trigger.Queues) error {
	first, last := c.retries()
	for retry := first; ctx.Err() == nil; {
		changed, err := c.lookAtCloud(ctx, cl)
		pause := c.settings.Neutron.LookEvery.Duration
		if err != nil {
			pause, retry = retry, min(2*retry, last)
			cl.keptBy(err)
		} else {
			retry = first
		}
		for _, u := range changed {
			f.mark(u, intent.FabricNeutron, true)
		}
		first := err == nil && !cl.read.Swap(true)
		for _, u := range changed {
			q.Add(u)
		}
		if first {
			c.wakeAll(ctx, q)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return ctx.Err()
}

// keptBy notes what keeps us from reading Neutron, and says it once.
func (c *cloud) keptBy(err error) {
	text := err.Error()
	if old := c.why.Swap(&text); old == nil || *old != text {
		c.log.Warn("Neutron cannot be read, trying again", "err", err)
	}
}

func (c *cluster) lookAtCloud(ctx context.Context, cl *cloud) ([]intent.Unit, error) {
	ctx = openstack.Background(ctx)
	held, err := c.heldPorts(ctx)
	if err != nil {
		return nil, err
	}
	changed, err := cl.look(ctx, held)
	if err != nil {
		return nil, err
	}
	if c.lookAtQuotas(ctx, cl) {
		changed = append(changed, c.unitOfCluster())
	}
	return changed, c.keepPools(ctx, "")
}

// nodeThere is false for a node that is known to be gone.
func (c *cluster) nodeThere(ctx context.Context, name string) bool {
	n, err := kube.Get[corev1.Node](ctx, c.client, types.NamespacedName{Name: name})
	return n != nil || err != nil
}

// keepPools ends the pools of nodes and networks that the cluster has no more;
// except is a Subnet that is about to go.
func (c *cluster) keepPools(ctx context.Context, except string) error {
	cl := c.cloud.Load()
	if cl == nil {
		return nil
	}
	var all corev1.NodeList
	subnets, err := kube.Subnets(ctx, c.client)
	if err := errors.Join(err, c.client.List(ctx, &all)); err != nil {
		return err
	}
	nodes, networks := map[string]bool{}, map[string]bool{}
	projects, err := c.projectsAsked(ctx)
	if err != nil {
		return err
	}
	for i := range all.Items {
		nodes[all.Items[i].Name] = true
	}
	for _, s := range subnets {
		if s.Name != except {
			n, _ := cl.network(s.Name)
			networks[n.ID], networks[s.Status.Network], networks[s.Spec.Network] = true, true, true
		}
	}
	cl.PortPool.Drain(func(k portpool.Key) bool { return !nodes[k.Node] || !networks[k.Network] || !projects[k.Project] })
	return nil
}

// heldPorts says by claims which unit has which of Neutron's ports.
func (c *cluster) heldPorts(ctx context.Context) (map[string]intent.Unit, error) {
	var ips v1.IPList
	if err := c.client.List(ctx, &ips); err != nil {
		return nil, fmt.Errorf("list claims: %w", err)
	}
	held := map[string]intent.Unit{}
	for _, ip := range kube.Pointers(ips.Items) {
		if id := decide.CloudPort(ip); id != "" {
			held[id] = decide.IPUnit(ip)
		}
	}
	return held, nil
}

// wakeAll wakes whoever may have waited for Neutron.
func (c *cluster) wakeAll(ctx context.Context, q *trigger.Queues) {
	q.Add(c.unitOfCluster())
	if !c.settings.Overlay() {
		q.Add(intent.Unit("subnet/" + v1.PodSubnet))
	}
	var nodes corev1.NodeList
	var ips v1.IPList
	var pods corev1.PodList // all of them: one may be at work, and has not been told yet
	if err := errors.Join(c.wakeRules(ctx), c.wakeOwnSubnets(ctx, q), c.client.List(ctx, &nodes), c.client.List(ctx, &ips), c.client.List(ctx, &pods)); err != nil {
		c.log.Warn("not all are woken", "err", err)
	}
	for _, s := range c.maps().EverySubnet(ctx, nil) {
		q.Add(intent.Unit("subnet/" + s.Name))
	}
	for i := range nodes.Items {
		q.Add(decide.NodeUnit(nodes.Items[i].Name))
	}
	for _, ip := range kube.Pointers(ips.Items) {
		q.Add(decide.IPUnit(ip))
	}
	if !c.settings.Overlay() {
		for _, n := range c.maps().EveryService(ctx, nil) {
			q.Add(decide.ServiceUnit(n.Namespace, n.Name))
		}
	}
	for _, p := range pods.Items {
		q.Add(decide.PodUnit(p.Namespace, p.Name))
	}
}

func (c *cluster) unitOfCluster() intent.Unit { return intent.Unit("cluster/" + c.settings.Cluster) }
