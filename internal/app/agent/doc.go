// Package agent is the wiring of the node's agent: it answers the CNI plugin,
// keeps the node's own network, and installs the plugin. It remembers nothing
// across restarts; pods keep their network while it is away.
//
//	isthmus-cni ──unix socket──▶ server ─▶ pods ──claim──▶ Kubernetes API (IP objects, read only)
//	                                        │
//	                                        ├─ plug.Steps: what it takes (pure)
//	                                        └─ netdev: netlink, the node's Open_vSwitch database
//
//	Subnets, own IP, own Node, switch ports ──▶ node ─▶ nodenet.Apply
//
// How pods are plugged is chosen once, at the start. A node that is a virtual
// machine on a trunk port has no switch: its pods are VLANs on that port, their
// claims are what the node's network follows from, and OVN is not waited for,
// since the claim comes when the port is up.
package agent
