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
package agent
