package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/poolserver"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// pools decides which pools of ready ports there are, and handles operators'
// requests. drain and expectPods do nothing without Neutron.
type pools struct {
	client   client.Client
	topology topology.Topology
	projects topology.Projects
}

// handler returns the handler of kubectl ko pool. It errs before Neutron has been
// read.
func (p pools) handler() (poolserver.Handler, error) {
	if err := p.topology.Cloud.Ready(); err != nil {
		return poolserver.Handler{}, err
	}
	return poolserver.Handler{
		Pools: p.topology.Cloud.PortPool, SubnetOf: p.subnetOf, GroupName: p.topology.Cloud.DisplayName,
		StandardPool: p.standardPool, Batch: p.topology.Settings.Neutron.Pool.Batch,
	}, nil
}

// subnetOf returns the name of the Subnet whose pods a pool serves; the network's
// id if there is none.
func (p pools) subnetOf(ctx context.Context, k portpool.Key) (string, error) {
	subnets, err := kube.Subnets(ctx, p.client)
	if err != nil {
		return "", err
	}
	for _, s := range subnets {
		if p.serves(k, s) {
			return s.Name, nil
		}
	}
	return k.Network, nil
}

// serves tells whether a pool's ports are on a Subnet. Several Subnets may share a
// network.
func (p pools) serves(k portpool.Key, s *v1.Subnet) bool {
	seen, known := p.topology.Cloud.Fabric.Network(decide.NetworkName(s.Name))
	if known && seen.ID == k.Network {
		on := func(n plan.Subnet) bool { return slices.Contains(strings.Split(k.Subnets, ","), n.ID) }
		return slices.ContainsFunc(seen.Subnets, on)
	}
	return s.Status.Network == k.Network
}

// standardPool returns the pool of a node's pods that have no annotation of ours
// and that no NetworkPolicy selects, in a Subnet or the default one.
func (p pools) standardPool(ctx context.Context, node, subnet string) (portpool.Key, error) {
	if subnet == "" && !p.topology.Settings.Overlay() {
		subnet = v1.PodSubnet
	}
	if subnet == "" {
		return portpool.Key{}, fmt.Errorf("node %s has no pool yet: say of which Subnet it shall be", node)
	}
	n, err := kube.Get[corev1.Node](ctx, p.client, types.NamespacedName{Name: node})
	if err == nil && n == nil {
		err = fmt.Errorf("there is no node %s", node)
	}
	if err != nil {
		return portpool.Key{}, err
	}
	parent, err := p.parent(n)
	if err != nil {
		return portpool.Key{}, err
	}
	port, err := p.standardPort(node, parent, subnet)
	if err != nil {
		return portpool.Key{}, err
	}
	return p.topology.Cloud.PoolOf(ctx, port)
}

// parent returns a nested node's parent port; nil if the node is not nested. It
// errs with an intent.Wait if the port is not found.
func (p pools) parent(n *corev1.Node) (*decide.ParentPort, error) {
	if !decide.Nested(n) {
		return nil, nil
	}
	parent, err := p.topology.Parent(decide.ParentPortSelectorOf(n, nil))
	if err == nil && parent == nil {
		err = decide.NoParent(n.Name)
	}
	return parent, err
}

// standardPort returns the port of a pod of the standard pool. parent is nil if
// the node is not nested.
func (p pools) standardPort(node string, parent *decide.ParentPort, subnet string) (intent.Port, error) {
	port := intent.Port{Network: decide.NetworkName(subnet), Node: node}
	pod := policy.Pod{Node: node}
	if p.topology.Settings.Overlay() || parent != nil {
		pod.Node = "" // The node reaches its pods by the host link.
	}
	if parent != nil {
		port.Parent = parent.Port
	}
	m, err := new(policy.Index).Memberships(pod, policy.CloudGroups{Standard: p.topology.Cloud.StandardGroups()})
	port.Groups, port.CloudGroups = m.Groups, m.CloudGroups
	return port, err
}

// expectPods fills a nested node's standard pool before the first pod is created.
// For other nodes the node's own port does that. If there can be no pool, the
// pods' events say why.
func (p pools) expectPods(ctx context.Context, node string, parent *decide.ParentPort) error {
	if p.topology.Cloud == nil || p.topology.Settings.Overlay() {
		return nil
	}
	if err := p.topology.Cloud.Ready(); err != nil {
		return err
	}
	port, err := p.standardPort(node, parent, v1.PodSubnet)
	if err == nil {
		err = p.topology.Cloud.Expect(openstack.Background(ctx), port)
	}
	if errors.As(err, &intent.Stop{}) {
		return nil
	}
	return err
}

// drain removes the pools of nodes, networks and projects that the cluster no
// longer has. except is a Subnet that is being deleted; empty for none.
func (p pools) drain(ctx context.Context, except string) error {
	if p.topology.Cloud == nil {
		return nil
	}
	subnets, subnetsErr := kube.Subnets(ctx, p.client)
	all, nodesErr := kube.Nodes(ctx, p.client)
	projects, err := p.projects.InUse(ctx)
	if err := errors.Join(subnetsErr, nodesErr, err); err != nil {
		return err
	}
	nodes, networks := map[string]bool{}, map[string]bool{}
	for _, n := range all {
		nodes[n.Name] = true
	}
	for _, s := range subnets {
		if s.Name != except {
			n, _ := p.topology.Cloud.Network(s.Name)
			networks[n.ID], networks[s.Status.Network], networks[s.Spec.Network] = true, true, true
		}
	}
	p.topology.Cloud.PortPool.Drain(func(k portpool.Key) bool {
		return !nodes[k.Node] || !networks[k.Network] || !projects[k.Project]
	})
	return nil
}
