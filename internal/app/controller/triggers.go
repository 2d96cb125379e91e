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
	"github.com/isthmus-cni/isthmus/internal/app/controller/policies"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Delays of triggers, so that many changes cause one run.
const (
	countDelay  = 500 * time.Millisecond
	freedDelay  = 100 * time.Millisecond
	policyDelay = 100 * time.Millisecond
)

// triggers has the triggers of each kind of unit. Changes in OVN, Neutron and
// Octavia also run units: see watch in lead.go.
type triggers struct {
	settings    settings.Settings
	maps        trigger.Maps
	namespaces  namespaceSubnets
	policies    policies.Events
	waitingPods *waitingPods
}

func (t triggers) vpc() []trigger.Trigger {
	return []trigger.Trigger{
		{Of: &v1.Vpc{}, Map: trigger.Self},
		{Of: &v1.Subnet{}, Map: trigger.VpcOfSubnet, Predicate: trigger.SpecChanged},
	}
}

func (t triggers) subnet() []trigger.Trigger {
	return []trigger.Trigger{
		{Of: &v1.Subnet{}, Map: trigger.Self},
		{Of: &v1.Subnet{}, Map: t.maps.OtherSubnetsOfVpc, Predicate: trigger.SpecChanged},
		{Of: &v1.Subnet{}, Map: t.namespaces.ofSubnet, Predicate: trigger.SpecChanged},
		{Of: &corev1.Namespace{}, Map: t.namespaces.ofNamespace, Predicate: trigger.NamespaceChanged},
		{Of: &v1.Vpc{}, Map: t.maps.SubnetsOfVpc, Predicate: trigger.SpecChanged},
		{Of: &corev1.Node{}, Map: t.maps.EverySubnet, Predicate: trigger.NodeChanged},
		// This updates the counts of addresses, and a deleted Subnet that waits until
		// it is empty. Because of the delay, a thousand pods cause only a few writes.
		{Of: &v1.IP{}, Map: trigger.SubnetOfIP, Predicate: trigger.CreatedOrDeleted, Delay: countDelay},
	}
}

func (t triggers) node() []trigger.Trigger {
	all := []trigger.Trigger{
		{Of: &corev1.Node{}, Map: trigger.Self, Predicate: trigger.NodeChanged},
		{Of: &v1.Subnet{}, Map: t.maps.NodesOfSubnet, Predicate: trigger.SubnetUsabilityChanged},
		{Of: &v1.IP{}, Map: trigger.NodeOfIP},
	}
	if !t.settings.Overlay() {
		all = append(all, trigger.Trigger{Of: &networkingv1.ServiceCIDR{}, Map: t.maps.EveryNode, Predicate: trigger.SpecChanged})
	}
	return all
}

func (t triggers) pod() []trigger.Trigger {
	all := []trigger.Trigger{
		{Of: &corev1.Pod{}, Map: trigger.Self, Predicate: trigger.PodChanged},
		{Of: &v1.IP{}, Map: trigger.PodOfIP},
		{Of: &v1.Subnet{}, Map: t.waitingPods.all, Predicate: trigger.SubnetUsabilityChanged},
		{Of: &v1.Vpc{}, Map: t.waitingPods.all, Predicate: trigger.SpecChanged},
		{Of: &v1.IP{}, Map: t.waitingPods.all, Predicate: trigger.Deleted, Delay: freedDelay},
		{Of: &corev1.Node{}, Map: t.maps.PodsOnNode, Predicate: trigger.PlugChanged},
		{Of: &appsv1.StatefulSet{}, Map: t.maps.PodsOfStatefulSet, Predicate: trigger.StatefulSetScaled},
	}
	if t.settings.Neutron != nil { // For NetworkPolicies; see also policies.Events.
		all = append(all,
			trigger.Trigger{Of: &corev1.Pod{}, Map: trigger.Self, Predicate: trigger.LabelsChanged},
			trigger.Trigger{Of: &corev1.Namespace{}, Map: t.maps.PodsInNamespace, Predicate: trigger.NamespaceChanged})
	}
	return all
}

// cluster has the triggers of the cluster's unit. OVN's events also run it; see
// ovnEvents.
func (t triggers) cluster() []trigger.Trigger {
	if t.settings.Overlay() {
		return nil
	}
	return []trigger.Trigger{
		{Of: &networkingv1.ServiceCIDR{}, Map: t.theCluster, Predicate: trigger.SpecChanged},
		{Of: &corev1.Node{}, Map: t.theCluster, Predicate: trigger.CreatedOrDeleted},
	}
}

func (t triggers) theCluster(context.Context, client.Object) []types.NamespacedName {
	return trigger.Names(t.settings.Cluster)
}

// policy has the triggers of policies that depend on Services. policies.Events
// runs policies and groups when a policy or a named port changes.
func (t triggers) policy() []trigger.Trigger {
	if t.settings.Overlay() {
		return nil
	}
	return []trigger.Trigger{
		{Of: &corev1.Service{}, Map: t.policies.UsingServices, Predicate: trigger.ServiceChanged, Delay: policyDelay},
		{Of: &discoveryv1.EndpointSlice{}, Map: t.policies.UsingServices, Predicate: trigger.EndpointsChanged, Delay: policyDelay},
		{Of: &corev1.Pod{}, Map: t.policies.UsingServices, Predicate: trigger.LabelsChanged, Delay: policyDelay},
		{Of: &corev1.Namespace{}, Map: t.policies.UsingServices, Predicate: trigger.LabelsChanged, Delay: policyDelay},
	}
}

func (t triggers) service() []trigger.Trigger {
	return []trigger.Trigger{
		{Of: &corev1.Service{}, Map: trigger.Self, Predicate: trigger.ServiceChanged},
		{Of: &discoveryv1.EndpointSlice{}, Map: trigger.ServiceOfSlice, Predicate: trigger.EndpointsChanged},
		// After a start, a record's Service may no longer exist.
		{Of: &kuryr.KuryrLoadBalancer{}, Map: trigger.Self, Predicate: trigger.CreatedOrDeleted},
		{Of: &v1.Subnet{}, Map: t.maps.EveryService, Predicate: trigger.SubnetUsabilityChanged},
		{Of: &corev1.Namespace{}, Map: t.maps.ServicesInNamespace, Predicate: trigger.NamespaceChanged},
		// Pods on the host's network are members with their node's address.
		{Of: &v1.IP{}, Map: t.maps.ServicesOfNodeIP, Predicate: trigger.CreatedOrDeleted},
	}
}

// waitingPods are the pods that need a claim and have none. A change of a Subnet,
// a Vpc or a claim runs them all; decide knows whether it helps.
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

// all is a map function. It returns all waiting pods and ignores the object.
func (w *waitingPods) all(context.Context, client.Object) []types.NamespacedName {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.pods))
}
