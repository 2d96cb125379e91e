// Package poolwire is what kubectl ko and the leading controller say to each
// other about the pools of ready ports: JSON over HTTP, on a socket that only
// root reaches where the controller runs, in its container or on its machine. It
// knows no pool, nor what is behind either end.
package poolwire

import "net/netip"

// Socket is where the controller listens if it is not told another place;
// SocketEnv is the variable that tells whoever asks of another.
const (
	Socket    = "/run/isthmus/pool.sock"
	SocketEnv = "ISTHMUS_POOL_SOCKET"
)

// What is asked of the controller, each with arguments in the query.
const (
	// List shows Pools, those of ArgNode and ArgSubnet if given; with ArgPorts
	// their ports, too.
	List = "list"
	// Fill makes ArgCount ports in each pool of ArgNode, of ArgSubnet only if that
	// is given, and shows what was Made.
	Fill = "fill"
	// Free deletes the ports of the pools of ArgNode and ArgSubnet, or with ArgAll
	// of all, and shows what was Freed.
	Free = "free"
)

// Arguments.
const (
	ArgNode   = "node"
	ArgSubnet = "subnet"
	ArgCount  = "n"
	ArgAll    = "all"
	ArgPorts  = "ports"
)

// Pool is ready ports for the pods of one node, Subnet and set of security groups.
type Pool struct {
	Node string `json:"node"`
	// Subnet is a Subnet's name; the id of the network where it is nobody's.
	Subnet string `json:"subnet"`
	// Groups are names, or ids where no name is known.
	Groups []string `json:"groups"`
	// Project and Network are ids.
	Project string `json:"project"`
	Network string `json:"network"`

	Ready     int `json:"ready"`
	Returning int `json:"returning"`
	Making    int `json:"making"`

	Ports []Port `json:"ports,omitempty"`
}

// Port is one of a pool's.
type Port struct {
	ID    string       `json:"id"`
	Addrs []netip.Addr `json:"addresses"`
	State string       `json:"state"`
}

// Made is what became of filling one pool.
type Made struct {
	Pool
	Made int `json:"made"`
	// Problem is why there are not as many as were asked for; empty for none.
	Problem string `json:"problem,omitempty"`
}

// Freed is how many ports pools have lost.
type Freed struct {
	Ports int `json:"ports"`
	// Problem is why some of them are not deleted yet; empty for none.
	Problem string `json:"problem,omitempty"`
}
