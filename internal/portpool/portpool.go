// Package portpool keeps Neutron ports ready, so that a new pod gets one without
// waiting for Neutron. It answers two questions: which ready port a pod gets, and
// what to do next so that enough ports are ready.
//
//	created ──▶ ready ──Obtain──▶ a pod's ──Return──▶ returning ──cleaned──▶ ready
//	              └────── Drain, or more than Max ──────┴──▶ surplus ──deleted──▶ gone
//
// The type pools (pools.go, tasks.go) is the value that makes the decisions, without
// calls. Worker (worker.go) runs the tasks that pools decides on, and is safe for
// concurrent use. The package knows only the interface Neutron, and nothing of
// Kubernetes.
package portpool

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Key identifies a pool. All ports of the pool have these values.
type Key struct {
	Node, Project, Network string
	// Parent is the id of the subports' parent port. It is empty for ports that are bound
	// to the node.
	Parent string
	// Subnets and Groups are ids, sorted and joined with commas.
	Subnets, Groups string
}

// Complete reports whether a pool can have this key.
func (k Key) Complete() bool {
	return k.Node != "" && k.Network != "" && k.Subnets != "" && k.Groups != ""
}

// place returns the key without the security groups. A ready port can serve another pool
// in the same place after its groups have been changed.
func (k Key) place() Key {
	k.Groups = ""
	return k
}

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Network, b.Network), strings.Compare(a.Subnets, b.Subnets),
		strings.Compare(a.Parent, b.Parent), strings.Compare(a.Groups, b.Groups), strings.Compare(a.Project, b.Project))
}

// Limits are the limits of each pool.
type Limits struct {
	// Min is the number of ready ports that a pool keeps. If there are fewer, one task
	// creates Batch ports. 0 means a Batch of 5.
	Min, Batch int
	// Max is the number of ports in a pool from which on returned ports are deleted; 0
	// means no limit.
	Max int
	// Sets is the number of pools, with different security groups, that are kept filled
	// in each place (node, network, subnets, project, parent port), the most used first.
	// 0 means 8. A pod whose pool has no port gets one from another pool in the place,
	// and waits until that port's groups are changed.
	Sets int
}

const (
	defaultBatch = 5
	defaultSets  = 8
)

// Address has the addresses that are unique in a network.
type Address struct {
	Network string
	// MAC is empty in a Request for any MAC.
	MAC intent.MAC
	// Addrs are sorted. A Request has only the addresses that the pod asks for.
	Addrs []netip.Addr
}

// conflicts reports whether Neutron would refuse two ports with these addresses.
func (a Address) conflicts(b Address) bool {
	if a.Network != b.Network {
		return false
	}
	return a.MAC != "" && a.MAC == b.MAC ||
		slices.ContainsFunc(a.Addrs, func(addr netip.Addr) bool { return slices.Contains(b.Addrs, addr) })
}

// Port is a Neutron port, with the fields that the pools need.
type Port struct {
	ID string
	Address
	// Key is the key of the port's pool. It may be incomplete if Fits is false.
	Key Key
	// Fits is false for a port that no pool can hand out.
	Fits bool
	// Clean is true if the port has the pool's name, and false if it has a pod's.
	Clean bool
	// Plugged is true if Neutron reports an attached interface. A subport is always
	// plugged while its parent port is up, so the field means nothing there.
	Plugged bool
	// Record is the record of the implementation of Neutron. The pools never change it.
	Record any
}

func (p Port) subport() bool { return p.Key.Parent != "" }

// unattached reports whether the port was created as a subport and is not on its trunk
// yet.
func (p Port) unattached() bool { return p.Clean && p.Key.Node == "" && !p.subport() }

func (p Port) inGroup(id string) bool { return slices.Contains(strings.Split(p.Key.Groups, ","), id) }

// Request describes the port that a pod asks for.
type Request struct {
	// Address has the addresses that the pod asks for, if any.
	Address
	// Key is the key of the pool that has such ports, without regard to Address. It may
	// be incomplete if Fits is false.
	Key Key
	// Fits is false if no pool has such ports.
	Fits bool
	// Accepts reports whether a ready port can be changed into the requested one. It is
	// only called for a port with one of the requested addresses.
	Accepts func(Port) bool
}

// poolable reports whether any port of the pool meets the request.
func (r Request) poolable() bool { return r.Fits && r.MAC == "" && len(r.Addrs) == 0 }

// Status is the state of one pool, for people.
type Status struct {
	Key
	// Ready ports can be handed out. Returning ports must be cleaned first. Making is the
	// number of ports that are being created or cleaned.
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
