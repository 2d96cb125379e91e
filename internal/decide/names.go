package decide

import (
	"strings"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// A unit has the name of its Kubernetes object.

// PodUnit returns the name of a pod's unit.
func PodUnit(namespace, pod string) intent.Unit {
	return intent.Unit("pod/" + namespace + "/" + pod)
}

// NodeUnit returns the name of a Node's unit.
func NodeUnit(node string) intent.Unit { return intent.Unit("node/" + node) }

// IPUnit returns the name of the unit that owns the claim: a pod's or a Node's.
func IPUnit(ip *v1.IP) intent.Unit {
	if ip.Spec.PodName != "" {
		return PodUnit(ip.Spec.Namespace, ip.Spec.PodName)
	}
	return NodeUnit(ip.Spec.NodeName)
}

// PodPort returns the name of a pod's port and of its IP object.
func PodPort(namespace, pod string) string { return intent.ShortName(pod + "." + namespace) }

// NodePort returns the name of a Node's port on Subnet join and of its IP object.
func NodePort(node string) string { return intent.ShortName("node-" + node) }

// NodeGroup returns the name of the port group of the pods on a node. Names of
// OVN port groups cannot have a dash and Kubernetes names cannot have an
// underscore, so two nodes never share a group.
func NodeGroup(node string) string { return "node." + strings.ReplaceAll(node, "-", "_") }

// networkPort returns the name of the network's end of a router interface.
func networkPort(subnet, vpc string) string { return intent.ShortName(subnet + "-" + vpc) }

// routerPort returns the name of the router's end of a router interface. The
// prefix is for Neutron routers only.
func routerPort(prefix, subnet, vpc string) string {
	if !External(vpc) {
		prefix = ""
	}
	return intent.ShortName(prefix + vpc + "-" + subnet)
}

// External tells whether the Vpc of that name is a Neutron router.
func External(vpc string) bool { return strings.HasPrefix(vpc, "neutron-") }
