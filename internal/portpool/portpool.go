// Package portpool keeps Neutron ports ready, so that a new pod gets one without
// waiting for Neutron. It answers two questions: which ready port a pod gets, and
// what to do next so that enough ports are ready.
//
//	created ──▶ ready ──Obtain──▶ a pod's ──Return──▶ returning ──cleaned──▶ ready
//	              └────── Drain, or more than Max ──────┴──▶ surplus ──deleted──▶ gone
//
// The type pools (pools.go, tasks.go) is the value that decides; it calls nobody.
// Worker (worker.go) runs the tasks that pools decides on, and is safe for
// concurrent use. The package knows Neutron by the interface Neutron only, and
// knows nothing of Kubernetes.
package portpool

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Key is what all ports of one pool have in common.
type Key struct {
	Node, Project, Network string
	// Parent is the id of their parent port. It is empty for ports that are bound
	// to the node themselves.
	Parent string
	// Subnets and Groups are ids, sorted and joined with commas.
	Subnets, Groups string
}

// Complete tells whether a pool can have this key.
func (k Key) Complete() bool {
	return k.Node != "" && k.Network != "" && k.Subnets != "" && k.Groups != ""
}

// place is the key without the security groups. A ready port can serve another
// pool of the same place once its groups have been changed.
func (k Key) place() Key {
	k.Groups = ""
	return k
}

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Network, b.Network), strings.Compare(a.Subnets, b.Subnets),
		strings.Compare(a.Parent, b.Parent), strings.Compare(a.Groups, b.Groups), strings.Compare(a.Project, b.Project))
}

// Limits of each pool.
type Limits struct {
	// Min ready ports are kept. If there are fewer, more are created, Batch in one
	// task; Batch is 5 if 0.
	Min, Batch int
	// Max is how many ports a pool may have when one comes back; 0 for any number.
	Max int
	// Sets is how many pools with different security groups are kept filled in each
	// place (node, network, subnets, project, parent port), the most used first: 8 if
	// 0. A pod whose pool has no port takes one from another pool of the place, and
	// waits until the groups of that port are changed.
	Sets int
}

const (
	defaultBatch = 5
	defaultSets  = 8
)

// Address is what makes a port unique in its network.
type Address struct {
	Network string
	// MAC is empty in a Request for any MAC.
	MAC intent.MAC
	// Addrs are sorted. In a Request they are only the addresses that were asked for.
	Addrs []netip.Addr
}

// conflicts tells whether Neutron would refuse two ports with these addresses.
func (a Address) conflicts(b Address) bool {
	if a.Network != b.Network {
		return false
	}
	return a.MAC != "" && a.MAC == b.MAC ||
		slices.ContainsFunc(a.Addrs, func(addr netip.Addr) bool { return slices.Contains(b.Addrs, addr) })
}

// Port is a port of Neutron, as far as pools need to know it.
type Port struct {
	ID string
	Address
	// Key is the pool that the port belongs to; it may be incomplete if Fits is false.
	Key Key
	// Fits is false for a port that no pool can hand out.
	Fits bool
	// Clean is true if the port bears the pool's name, and no pod's.
	Clean bool
	// Plugged is true if Neutron says that an interface is attached. It is always
	// true of a subport whose parent port is up, so it says nothing there.
	Plugged bool
	// Record is what Neutron's side knows of the port. It comes back unchanged.
	Record any
}

func (p Port) subport() bool { return p.Key.Parent != "" }

// unattached tells whether a subport was created and is not on its trunk yet.
func (p Port) unattached() bool { return p.Clean && p.Key.Node == "" && !p.subport() }

func (p Port) inGroup(id string) bool { return slices.Contains(strings.Split(p.Key.Groups, ","), id) }

// Request is a port that a pod asks for.
type Request struct {
	// Address has what the pod asks for in particular, if anything.
	Address
	// Key is the pool that such ports come from, were they asked for without
	// addresses. It may be incomplete if Fits is false.
	Key Key
	// Fits is false if no pool has such ports.
	Fits bool
	// Accepts tells whether a ready port can be changed to what is asked for. It is
	// only called for a port with one of the addresses that are asked for.
	Accepts func(Port) bool
}

// poolable tells whether any port of the pool will do.
func (r Request) poolable() bool { return r.Fits && r.MAC == "" && len(r.Addrs) == 0 }

// Status is one pool, for people.
type Status struct {
	Key
	// Ready ports can be handed out, Returning ones must be cleaned first, Making
	// counts those that are being created or cleaned.
	Ready, Returning, Making int
}

// PortStatus is one port of a pool, for people.
type PortStatus struct {
	ID    string
	Addrs []netip.Addr
	// State is StateReady or StateReturning.
	State string
}

// States of a pool's port: it can be handed out, or must be cleaned first.
const (
	StateReady     = "ready"
	StateReturning = "returning"
)
