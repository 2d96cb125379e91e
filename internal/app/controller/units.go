package controller

import (
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// kind is one kind of unit: what runs it and what triggers it.
type kind struct {
	name     string
	run      reconcile.Reconciler
	workers  int
	triggers []trigger.Trigger
}

// kinds are everything that the controller keeps true, one line each. Pods have
// many workers, so that those that come together share a transaction.
func (c *cluster) kinds(f unit.Fabric) []kind {
	all := []kind{
		{"vpc", unit.Unit[decide.VpcFacts, decide.VpcReport]{Kind: "vpc", Gather: c.gatherVpc, Decide: decide.Vpc, Hold: c.holdVpc, Report: c.reportVpc}.On(f, c.metrics, c.log), 2, c.vpcTriggers()},
		{"subnet", unit.Unit[decide.SubnetFacts, decide.SubnetReport]{Kind: "subnet", Gather: c.gatherSubnet, Decide: decide.Subnet, Hold: c.holdSubnet, Report: c.reportSubnet}.On(f, c.metrics, c.log), 4, c.subnetTriggers()},
		{"node", unit.Unit[decide.NodeFacts, *v1.IP]{Kind: "node", Gather: c.gatherNode, Decide: decide.Node, Report: c.reportNode}.On(f, c.metrics, c.log), 4, c.nodeTriggers()},
		{"pod", unit.Unit[decide.PodFacts, *v1.IP]{Kind: "pod", Gather: c.gatherPod, Decide: decide.Pod, Report: c.reportPod}.On(f, c.metrics, c.log), 32, c.podTriggers()},
	}
	if c.settings.Neutron != nil {
		all = append(all,
			kind{"cluster", unit.Unit[decide.ClusterFacts, decide.ClusterReport]{Kind: "cluster", Gather: c.gatherCluster, Decide: decide.Cluster, Report: c.reportCluster}.On(f, c.metrics, c.log), 1, c.clusterTriggers()},
			kind{"policy", unit.Unit[policy.Facts, struct{}]{Kind: "policy", Gather: c.gatherPolicy, Decide: policy.Decide, Report: c.reportPolicy}.On(f, c.metrics, c.log), 4, c.policyTriggers()},
			kind{"group", unit.Unit[policy.GroupFacts, struct{}]{Kind: "group", Gather: c.gatherGroup, Decide: policy.SharedGroup, Report: c.reportGroup}.On(f, c.metrics, c.log), 4, nil})
	}
	if !c.settings.Overlay() {
		all = append(all,
			kind{"service", unit.Unit[serviceFacts, struct{}]{Kind: "service", Gather: c.gatherService, Decide: decideService, Report: c.reportService}.On(f, c.metrics, c.log), 8, c.serviceTriggers()})
	}
	return all
}
