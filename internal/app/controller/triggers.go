package controller

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
)

// Delays of triggers, so that many changes cause one run.
const (
	countDelay  = 500 * time.Millisecond
	freedDelay  = 100 * time.Millisecond
	policyDelay = 100 * time.Millisecond
)

func (c *cluster) maps() trigger.Maps {
	return trigger.Maps{Reader: c.client, NodeSubnet: c.nodeSubnet()}
}

func (c *cluster) vpcTriggers() []trigger.Trigger {
	return []trigger.Trigger{
		{Of: &v1.Vpc{}, Map: trigger.Self},
		{Of: &v1.Subnet{}, Map: trigger.VpcOfSubnet, Predicate: trigger.SpecChanged},
	}
}

func (c *cluster) subnetTriggers() []trigger.Trigger {
	return []trigger.Trigger{
		{Of: &v1.Subnet{}, Map: trigger.Self},
		{Of: &v1.Subnet{}, Map: c.maps().OtherSubnetsOfVpc, Predicate: trigger.SpecChanged},
		{Of: &v1.Subnet{}, Map: c.namespaces().ofSubnet, Predicate: trigger.SpecChanged},
		{Of: &corev1.Namespace{}, Map: c.namespaces().ofNamespace, Predicate: trigger.NamespaceChanged},
		{Of: &v1.Vpc{}, Map: c.maps().SubnetsOfVpc, Predicate: trigger.SpecChanged},
		{Of: &corev1.Node{}, Map: c.maps().EverySubnet, Predicate: trigger.NodeChanged},
		// For the counts of addresses, and for a Subnet that waits to be empty. The
		// delay makes a thousand pods cost a few writes.
		{Of: &v1.IP{}, Map: trigger.SubnetOfIP, Predicate: trigger.CreatedOrDeleted, Delay: countDelay},
	}
}

func (c *cluster) nodeTriggers() []trigger.Trigger {
	all := []trigger.Trigger{
		{Of: &corev1.Node{}, Map: trigger.Self, Predicate: trigger.NodeChanged},
		{Of: &v1.Subnet{}, Map: c.maps().NodesOfSubnet, Predicate: trigger.SubnetUsabilityChanged},
		{Of: &v1.IP{}, Map: trigger.NodeOfIP},
	}
	if !c.settings.Overlay() {
		all = append(all, trigger.Trigger{Of: &networkingv1.ServiceCIDR{}, Map: c.maps().EveryNode, Predicate: trigger.SpecChanged})
	}
	return all
}

func (c *cluster) podTriggers() []trigger.Trigger {
	all := []trigger.Trigger{
		{Of: &corev1.Pod{}, Map: trigger.Self, Predicate: trigger.PodChanged},
		{Of: &v1.IP{}, Map: trigger.PodOfIP},
		{Of: &v1.Subnet{}, Map: c.waitingPods.all, Predicate: trigger.SubnetUsabilityChanged},
		{Of: &v1.Vpc{}, Map: c.waitingPods.all, Predicate: trigger.SpecChanged},
		{Of: &v1.IP{}, Map: c.waitingPods.all, Predicate: trigger.Deleted, Delay: freedDelay},
		{Of: &corev1.Node{}, Map: c.maps().PodsOnNode, Predicate: trigger.PlugChanged},
		{Of: &appsv1.StatefulSet{}, Map: c.maps().PodsOfStatefulSet, Predicate: trigger.StatefulSetScaled},
	}
	if c.settings.Neutron != nil { // For NetworkPolicies; see also watchRules.
		all = append(all,
			trigger.Trigger{Of: &corev1.Pod{}, Map: trigger.Self, Predicate: trigger.LabelsChanged},
			trigger.Trigger{Of: &corev1.Namespace{}, Map: c.maps().PodsInNamespace, Predicate: trigger.NamespaceChanged})
	}
	return all
}

// clusterTriggers: OVN's events start the unit's run, too; see routerChanged.
func (c *cluster) clusterTriggers() []trigger.Trigger {
	if c.settings.Overlay() {
		return nil
	}
	return []trigger.Trigger{
		{Of: &networkingv1.ServiceCIDR{}, Map: c.theCluster, Predicate: trigger.SpecChanged},
		{Of: &corev1.Node{}, Map: c.theCluster, Predicate: trigger.CreatedOrDeleted},
	}
}

func (c *cluster) theCluster(context.Context, client.Object) []types.NamespacedName {
	return trigger.Names(c.settings.Cluster)
}

// policyTriggers are about the members of Services. watchRules lets policies and
// groups run when a policy or a named port changes.
func (c *cluster) policyTriggers() []trigger.Trigger {
	if c.settings.Overlay() {
		return nil
	}
	return []trigger.Trigger{
		{Of: &corev1.Service{}, Map: c.usingServices, Predicate: trigger.ServiceChanged, Delay: policyDelay},
		{Of: &discoveryv1.EndpointSlice{}, Map: c.usingServices, Predicate: trigger.EndpointsChanged, Delay: policyDelay},
		{Of: &corev1.Pod{}, Map: c.usingServices, Predicate: trigger.LabelsChanged, Delay: policyDelay},
		{Of: &corev1.Namespace{}, Map: c.usingServices, Predicate: trigger.LabelsChanged, Delay: policyDelay},
	}
}

func (c *cluster) serviceTriggers() []trigger.Trigger {
	return []trigger.Trigger{
		{Of: &corev1.Service{}, Map: trigger.Self, Predicate: trigger.ServiceChanged},
		{Of: &discoveryv1.EndpointSlice{}, Map: trigger.ServiceOfSlice, Predicate: trigger.EndpointsChanged},
		// A record that a start finds may be of a Service that is gone.
		{Of: &kuryr.KuryrLoadBalancer{}, Map: trigger.Self, Predicate: trigger.CreatedOrDeleted},
		{Of: &v1.Subnet{}, Map: c.maps().EveryService, Predicate: trigger.SubnetUsabilityChanged},
		{Of: &corev1.Namespace{}, Map: c.maps().ServicesInNamespace, Predicate: trigger.NamespaceChanged},
		// Pods on the host's network are members with their node's address.
		{Of: &v1.IP{}, Map: c.maps().ServicesOfNodeIP, Predicate: trigger.CreatedOrDeleted},
	}
}

// waitingPods are the pods that want a claim and have none. A change of a Subnet,
// a Vpc or a claim lets them all run; decide says which of them it helps.
type waitingPods struct {
	mu   sync.Mutex
	pods map[types.NamespacedName]struct{}
}

func (w *waitingPods) set(n types.NamespacedName, waiting bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !waiting {
		delete(w.pods, n)
		return
	}
	if w.pods == nil {
		w.pods = map[types.NamespacedName]struct{}{}
	}
	w.pods[n] = struct{}{}
}

// all is a map function that ignores the object.
func (w *waitingPods) all(context.Context, client.Object) []types.NamespacedName {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.pods))
}
