package controller

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/fabrics"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn"
)

// ovnEvents runs units when OVN's database changes.
type ovnEvents struct {
	client   client.Client
	topology topology.Topology
	maps     trigger.Maps
	fabrics  *fabrics.Fabrics
	queues   *trigger.Queues
}

// sweep runs every unit that owns something in OVN or has an IP object, and the
// units that every cluster has. A unit whose object does not exist then wants
// nothing, and what it has left is removed. From then on OVN's events run units.
func (e ovnEvents) sweep(ctx context.Context) error {
	if err := e.queues.Wait(ctx); err != nil {
		return err
	}
	e.topology.OVN.Watch(ovn.Notify{
		Unit:      func(u intent.Unit) { e.markOwner(u); e.queues.Add(u) },
		Router:    func(name string) { e.routerChanged(ctx, name) },
		ParentKey: func(key string) { e.parentPortChanged(ctx, key) },
		SubportUp: e.portUp,
	})
	owners, err := e.topology.OVN.Units(ctx)
	if err != nil {
		return err
	}
	for _, u := range owners {
		e.markOwner(u)
	}
	ips, err := kube.IPs(ctx, e.client)
	if err != nil {
		return err
	}
	for _, ip := range ips {
		owners = append(owners, decide.IPUnit(ip))
	}
	if e.topology.Settings.Overlay() {
		owners = append(owners, "vpc/"+v1.DefaultVpc, "subnet/"+v1.DefaultSubnet, "subnet/"+v1.JoinSubnet)
	}
	for _, u := range owners {
		e.queues.Add(u)
	}
	return nil
}

func (e ovnEvents) markOwner(u intent.Unit) { e.fabrics.Mark(u, intent.FabricOVN, true) }

// routerChanged runs the router's Vpc, its Subnets, and the cluster's unit if it
// is the nodes' router.
func (e ovnEvents) routerChanged(ctx context.Context, name string) {
	e.queues.Add(intent.Unit("vpc/" + name))
	for _, n := range e.maps.SubnetsIn(ctx, name) {
		e.queues.Add(intent.Unit("subnet/" + n.Name))
	}
	if name == e.topology.NodeVpc() {
		e.queues.Add(clusterUnitName(e.topology.Settings))
	}
}

// parentPortChanged runs the nested nodes whose parent port is found by a key,
// and their pods; all nested nodes if the key is empty.
func (e ovnEvents) parentPortChanged(ctx context.Context, key string) {
	by := client.MatchingFields{kube.IndexParentPort: key}
	if key == "" {
		by = client.MatchingFields{kube.IndexNested: "true"}
	}
	nodes, _ := kube.Nodes(ctx, e.client, by)
	for _, node := range nodes {
		e.queues.Add(decide.NodeUnit(node.Name))
		for _, n := range e.maps.PodsOnNode(ctx, node) {
			e.queues.Add(decide.PodUnit(n.Namespace, n.Name))
		}
	}
}

// portUp tells Neutron's fabric that one of its ports is up.
func (e ovnEvents) portUp(port string) {
	if e.topology.Cloud != nil {
		e.topology.Cloud.Rose(port)
	}
}
