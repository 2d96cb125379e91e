package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/poolserver"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// poolHandler returns the handler of kubectl ko pool.
func (c *cluster) poolHandler() poolserver.Handler {
	return poolserver.Handler{
		Pools: c.pools, SubnetOf: c.subnetOfPool, GroupName: c.groupName, StandardPool: c.standardPool,
		Batch: c.settings.Neutron.Pool.Batch,
	}
}

// pools returns the pools once all of their ports have been read.
func (c *cluster) pools() (poolserver.Pools, error) {
	cl := c.cloud.Load()
	if cl == nil {
		return nil, errors.New("this controller does not lead: the pools are the leader's")
	}
	if err := cl.Ready(); err != nil {
		return nil, err
	}
	return cl.PortPool, nil
}

// subnetOfPool returns the name of the Subnet of a pool's pods.
func (c *cluster) subnetOfPool(ctx context.Context, k portpool.Key) (string, error) {
	subnets, err := kube.Subnets(ctx, c.client)
	if err != nil {
		return "", err
	}
	for _, s := range subnets {
		if c.feeds(k, s) {
			return s.Name, nil
		}
	}
	return k.Network, nil
}

// feeds tells whether a pool's ports are on a Subnet. Several may be on one
// network.
func (c *cluster) feeds(k portpool.Key, s *v1.Subnet) bool {
	if cl := c.cloud.Load(); cl != nil {
		seen, known := cl.Segment(decide.NetworkName(s.Name))
		on := func(n neutron.Subnet) bool { return slices.Contains(strings.Split(k.Subnets, ","), n.ID) }
		if known && seen.ID == k.Network {
			return slices.ContainsFunc(seen.Subnets, on)
		}
	}
	return s.Status.Network == k.Network
}

// groupName returns the name of a security group, or its id if that is not known.
func (c *cluster) groupName(id string) string {
	if cl := c.cloud.Load(); cl != nil {
		return cl.DisplayName(id)
	}
	return id
}

// standardPool is that of pods that ask for nothing and that no policy selects,
// in a Subnet or the default one.
func (c *cluster) standardPool(ctx context.Context, node, subnet string) (portpool.Key, error) {
	if subnet == "" && !c.settings.Overlay() {
		subnet = v1.PodSubnet
	}
	if subnet == "" {
		return portpool.Key{}, fmt.Errorf("node %s has no pool yet: say of which Subnet it shall be", node)
	}
	there, err := kube.Get[corev1.Node](ctx, c.client, types.NamespacedName{Name: node})
	if err != nil {
		return portpool.Key{}, err
	}
	if there == nil {
		return portpool.Key{}, fmt.Errorf("there is no node %s", node)
	}
	var parent *decide.ParentPort
	if decide.Nested(there) {
		if parent, err = c.parent(decide.ParentPortSelectorOf(there, nil)); err == nil && parent == nil {
			err = decide.NoParent(node)
		}
		if err != nil {
			return portpool.Key{}, err
		}
	}
	p, err := c.standardPort(node, parent, subnet)
	if err != nil {
		return portpool.Key{}, err
	}
	return c.cloud.Load().PoolOf(ctx, p)
}

// standardPort is what a pod on a node gets that asks for nothing and that no
// policy selects. A virtual machine has a parent.
func (c *cluster) standardPort(node string, parent *decide.ParentPort, subnet string) (intent.Port, error) {
	p := intent.Port{Network: decide.NetworkName(subnet), Node: node}
	pod := policy.Pod{Node: node}
	if c.settings.Overlay() || parent != nil {
		pod.Node = "" // the node reaches its pods by the host link
	}
	if parent != nil {
		p.Parent = parent.Port
	}
	m, err := new(policy.Index).Memberships(pod, policy.CloudGroups{Standard: c.cloud.Load().StandardGroups()})
	p.Groups, p.CloudGroups = m.Groups, m.CloudGroups
	return p, err
}

// expectPods has the pool behind a virtual machine filled before the first pod is
// there. A node with a switch has a port of its own that sees to that. Where
// there can be no pool the pods say why.
func (c *cluster) expectPods(ctx context.Context, node string, parent *decide.ParentPort) error {
	cl := c.cloud.Load()
	if cl == nil || c.settings.Overlay() {
		return nil
	}
	if err := cl.Ready(); err != nil {
		return err
	}
	p, err := c.standardPort(node, parent, v1.PodSubnet)
	if err == nil {
		err = cl.Expect(openstack.Background(ctx), p)
	}
	if errors.As(err, &intent.Stop{}) {
		return nil
	}
	return err
}

// keepPools ends the pools of nodes, networks and projects that the cluster no
// longer has; except is a Subnet that is about to go.
func (c *cluster) keepPools(ctx context.Context, except string) error {
	cl := c.cloud.Load()
	if cl == nil {
		return nil
	}
	subnets, subnetsErr := kube.Subnets(ctx, c.client)
	all, nodesErr := kube.Nodes(ctx, c.client)
	projects, err := c.projectsAsked(ctx)
	if err := errors.Join(subnetsErr, nodesErr, err); err != nil {
		return err
	}
	nodes, networks := map[string]bool{}, map[string]bool{}
	for _, n := range all {
		nodes[n.Name] = true
	}
	for _, s := range subnets {
		if s.Name != except {
			n, _ := cl.Network(s.Name)
			networks[n.ID], networks[s.Status.Network], networks[s.Spec.Network] = true, true, true
		}
	}
	cl.PortPool.Drain(func(k portpool.Key) bool { return !nodes[k.Node] || !networks[k.Network] || !projects[k.Project] })
	return nil
}
