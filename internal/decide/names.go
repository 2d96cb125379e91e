package decide

import (
	"strings"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// The units, by the objects that they are named after.

// PodUnit names a pod's unit.
func PodUnit(namespace, pod string) intent.Unit {
	return intent.Unit("pod/" + namespace + "/" + pod)
}

// NodeUnit names a Node's unit.
func NodeUnit(node string) intent.Unit { return intent.Unit("node/" + node) }

// IPUnit names the unit whose claim ip is.
func IPUnit(ip *v1.IP) intent.Unit {
	if ip.Spec.PodName != "" {
		return PodUnit(ip.Spec.Namespace, ip.Spec.PodName)
	}
	return NodeUnit(ip.Spec.NodeName)
}

// PodPort names a pod's port, and its IP object.
func PodPort(namespace, pod string) string { return intent.ShortName(pod + "." + namespace) }

// NodePort names a Node's port on Subnet join, and its IP object.
func NodePort(node string) string { return intent.ShortName("node-" + node) }

// NodeGroup names the group of the pods on a node. OVN's names of groups have
// no dash and Kubernetes' have no underscore, so no two nodes share one.
func NodeGroup(node string) string { return "node." + strings.ReplaceAll(node, "-", "_") }

// segmentPort and routerPort name the two ends of a Subnet's join.
func segmentPort(subnet, vpc string) string { return intent.ShortName(subnet + "-" + vpc) }

func routerPort(prefix, subnet, vpc string) string {
	if !External(vpc) {
		prefix = ""
	}
	return intent.ShortName(prefix + vpc + "-" + subnet)
}

// External tells whether a Vpc of that name is a router of Neutron's.
func External(vpc string) bool { return strings.HasPrefix(vpc, "neutron-") }
