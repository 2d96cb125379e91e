// Package poolwire is the protocol between kubectl ko and the leading controller for
// port pools: JSON over HTTP, on a unix socket in the controller's container or on its
// machine, which only root may open. It implements no pool.
package poolwire

import "net/netip"

// Socket is where the controller listens by default. SocketEnv is the environment
// variable with which a client finds another socket.
const (
	Socket    = "/run/isthmus/pool.sock"
	SocketEnv = "ISTHMUS_POOL_SOCKET"
)

// Verbs are the path of a request. Its arguments are in the query.
const (
	// List returns a list of Pool, only those of ArgNode and ArgSubnet if given. With
	// ArgPorts it includes their ports.
	List = "list"
	// Fill creates ArgCount ports in each pool of ArgNode, only of ArgSubnet if given,
	// and returns a list of Made.
	Fill = "fill"
	// Free deletes the ports of the pools of ArgNode and ArgSubnet, or of all pools
	// with ArgAll, and returns Freed.
	Free = "free"
)

// Names of the arguments.
const (
	ArgNode   = "node"
	ArgSubnet = "subnet"
	ArgCount  = "n"
	ArgAll    = "all"
	ArgPorts  = "ports"
)

// Pool is a pool of ready ports for the pods of one node, Subnet and set of security groups.
type Pool struct {
	Node string `json:"node"`
	// Subnet is the Subnet's name, or the id of a network that no Subnet has.
	Subnet string `json:"subnet"`
	// Groups are the security groups' names, or ids if a name is unknown.
	Groups []string `json:"groups"`
	// Project and Network are ids in OpenStack.
	Project string `json:"project"`
	Network string `json:"network"`

	// Ready, Returning and Making are the numbers of ports that are ready, are coming
	// back from pods, and are being created.
	Ready     int `json:"ready"`
	Returning int `json:"returning"`
	Making    int `json:"making"`

	Ports []Port `json:"ports,omitempty"`
}

// Port is a port of a pool.
type Port struct {
	ID    string       `json:"id"`
	Addrs []netip.Addr `json:"addresses"`
	State string       `json:"state"`
}

// Made is the result of filling one pool.
type Made struct {
	Pool
	Made int `json:"made"`
	// Problem says why fewer ports were created than requested, else it is empty.
	Problem string `json:"problem,omitempty"`
}

// Freed is the number of ports that were deleted from pools.
type Freed struct {
	Ports int `json:"ports"`
	// Problem says why some ports are not deleted yet, else it is empty.
	Problem string `json:"problem,omitempty"`
}
