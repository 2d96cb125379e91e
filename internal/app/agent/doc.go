// Package agent is the wiring of the node's agent. The agent answers the CNI plugin,
// keeps the node's own network, and installs the plugin. It keeps no state across
// restarts, and pods keep their network while it does not run.
//
//	isthmus-cni ──unix socket──▶ server ─▶ plugger ──claim──▶ Kubernetes API (IP objects, read only)
//	                                          │
//	                                          ├─ attacher: Open vSwitch or trunk
//	                                          ├─ plug.Steps: the list of steps (pure)
//	                                          └─ netdev: netlink, the node's Open_vSwitch database
//
//	Subnets, own IP, own Node, switch ports ──▶ node ─▶ nodenet.Apply
//
// Read agent.go for the parts, then server.go, plugger.go and attacher.go for a pod, and
// node.go for the node's own network. cleanup.go removes everything again.
//
// When the agent starts, it chooses how pods are plugged. A node that is a virtual
// machine on a trunk port has no switch: its pods are VLANs on that port. The node's
// network then depends on the pods' claims alone, and the agent does not wait for OVN,
// because the controller writes the claim when the port is up.
package agent
