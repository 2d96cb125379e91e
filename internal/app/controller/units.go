package controller

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// kind is one kind of unit: what runs it and what wakes it.
type kind struct {
	name    string
	run     reconcile.Reconciler
	workers int
	wakes   []wake
}

// kinds are everything that the controller keeps true, one line each. Pods have
// many workers, so that those that come together share a transaction.
func (c *cluster) kinds(f unit.Fabric) []kind {
	all := []kind{
		{"vpc", unit.Unit[decide.VpcFacts, decide.VpcReport]{Kind: "vpc", Gather: c.gatherVpc, Decide: decide.Vpc, Hold: c.holdVpc, Report: c.reportVpc}.On(f, c.metrics, c.log), 2, c.wakesVpc()},
		{"subnet", unit.Unit[decide.SubnetFacts, decide.SubnetReport]{Kind: "subnet", Gather: c.gatherSubnet, Decide: decide.Subnet, Hold: c.holdSubnet, Report: c.reportSubnet}.On(f, c.metrics, c.log), 4, c.wakesSubnet()},
		{"node", unit.Unit[decide.NodeFacts, *v1.IP]{Kind: "node", Gather: c.gatherNode, Decide: decide.Node, Report: c.reportNode}.On(f, c.metrics, c.log), 4, c.wakesNode()},
		{"pod", unit.Unit[decide.PodFacts, *v1.IP]{Kind: "pod", Gather: c.gatherPod, Decide: decide.Pod, Report: c.reportPod}.On(f, c.metrics, c.log), 32, c.wakesPod()},
	}
	if c.settings.Neutron != nil {
		all = append(all,
			kind{"cluster", unit.Unit[decide.ClusterFacts, decide.ClusterReport]{Kind: "cluster", Gather: c.gatherCluster, Decide: decide.Cluster, Report: c.reportCluster}.On(f, c.metrics, c.log), 1, c.wakesCluster()},
			kind{"policy", unit.Unit[decide.PolicyFacts, struct{}]{Kind: "policy", Gather: c.gatherPolicy, Decide: decide.Policy, Report: c.reportPolicy}.On(f, c.metrics, c.log), 4, c.wakesPolicy()},
			kind{"group", unit.Unit[decide.GroupFacts, struct{}]{Kind: "group", Gather: c.gatherGroup, Decide: decide.SharedGroup, Report: c.reportGroup}.On(f, c.metrics, c.log), 4, nil})
	}
	if !c.settings.Overlay() {
		all = append(all,
			kind{"service", unit.Unit[serviceFacts, struct{}]{Kind: "service", Gather: c.gatherService, Decide: decideService, Report: c.reportService}.On(f, c.metrics, c.log), 8, c.wakesService()})
	}
	return all
}

func (c *cluster) wakesVpc() []wake {
	return []wake{
		{of: &v1.Vpc{}, to: itself},
		{of: &v1.Subnet{}, to: vpcOfSubnet, when: specChanged},
	}
}

func (c *cluster) wakesSubnet() []wake {
	return []wake{
		{of: &v1.Subnet{}, to: itself},
		{of: &v1.Subnet{}, to: c.subnetsBeside, when: specChanged},
		{of: &v1.Subnet{}, to: c.ownSubnetsBeside, when: specChanged},
		{of: &corev1.Namespace{}, to: c.subnetOfNamespace, when: namespaceChanged},
		{of: &v1.Vpc{}, to: c.subnetsOfVpc, when: specChanged},
		{of: &corev1.Node{}, to: c.everySubnet, when: nodeChanged},
		// For the counts, and for a Subnet that waits to be empty: soon is enough,
		// and a thousand pods must not cost a thousand writes.
		{of: &v1.IP{}, to: subnetOfIP, when: cameOrWent, after: countDelay},
	}
}

func (c *cluster) wakesNode() []wake {
	wakes := []wake{
		{of: &corev1.Node{}, to: itself, when: nodeChanged},
		{of: &v1.Subnet{}, to: c.nodesIfJoin, when: usableChanged},
		{of: &v1.IP{}, to: nodeOfIP},
	}
	if !c.settings.Overlay() {
		wakes = append(wakes, wake{of: &networkingv1.ServiceCIDR{}, to: c.everyNode, when: specChanged})
	}
	return wakes
}

func (c *cluster) wakesPod() []wake {
	wakes := []wake{
		{of: &corev1.Pod{}, to: itself, when: podChanged},
		{of: &v1.IP{}, to: podOfIP},
		{of: &v1.Subnet{}, to: c.wantingPods, when: usableChanged},
		{of: &v1.Vpc{}, to: c.wantingPods, when: specChanged},
		{of: &v1.IP{}, to: c.wantingPods, when: went, after: freedDelay},
		{of: &corev1.Node{}, to: c.podsOnNode, when: plugChanged},
		{of: &appsv1.StatefulSet{}, to: c.podsOfStatefulSet, when: scaled},
	}
	if c.settings.Neutron != nil { // Policies: see also watchRules.
		wakes = append(wakes,
			wake{of: &corev1.Pod{}, to: itself, when: relabelled},
			wake{of: &corev1.Namespace{}, to: c.podsIn, when: namespaceChanged})
	}
	return wakes
}
