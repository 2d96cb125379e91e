// Package intent holds the words that both fabrics share: what a unit wants of
// the network, in neither OVN's nor Neutron's terms, and what was seen.
// It knows no database, no API and no machine.
package intent

import (
	"net/netip"
	"time"
)

// Unit names the Kubernetes object that owns things in the network, as
// "<kind>/<name>" or "<kind>/<namespace>/<name>": "pod/net2/ubuntu".
type Unit string

// Want is everything that one unit wants. A zero Want asks that nothing of the
// unit be left. Order has no meaning in any of the lists.
type Want struct {
	Routers  []Router
	Segments []Segment
	Joins    []Join
	Ports    []Port
	Groups   []Group
	Reroutes []Reroute
}

// Router is a layer 3 domain that we own.
type Router struct{ Name string }

// Segment is a layer 2 domain that we own.
type Segment struct {
	Name string
	// Prefixes are its networks, at most one of each family.
	Prefixes []netip.Prefix
	// BalancersOf names a router (ours or not) whose load balancers the
	// segment refers to, too; empty for none. The fabric keeps that true as
	// the router's load balancers come and go.
	BalancersOf string
}

// Join connects a segment of ours to a router.
type Join struct {
	Segment string
	Router  string
	// Foreign is true when the router is somebody else's: nothing but the one
	// reference to our port may then be written into it.
	Foreign bool
	// SegmentPort and RouterPort are the names of the two ports.
	SegmentPort, RouterPort string
	MAC                     MAC
	// Networks are the router's addresses with the prefix length: 12.0.1.1/24.
	Networks []netip.Prefix
}

// MAC is a hardware address in its usual text form, in lower case.
type MAC string

// Port is an interface's place on a segment.
type Port struct {
	Name    string
	Segment string
	MAC     MAC
	Addrs   []netip.Addr
	// Version must be matched by the interface that binds the port: the UID of
	// the pod. Empty means that any interface of that name binds it.
	Version string
	// Groups are those that the port is a member of.
	Groups []string
	// Unknown is true when the port also takes traffic for other addresses.
	Unknown bool
	// Parent and Tag are set for a port behind another port: nested in a VM.
	Parent string
	Tag    int
	// Node is the machine that binds it, if known.
	Node string
}

// Group is a named set of ports, its address set included.
type Group struct{ Name string }

// Reroute sends packets on a router of ours to another next hop than its
// routes say. Exactly one of NextHops or Allow is meant: Allow ends the search
// without rerouting.
type Reroute struct {
	Router   string
	Priority int
	// From is a group whose addresses are the source; empty for any.
	From string
	// To is the destination; the zero Prefix for any.
	To       netip.Prefix
	NextHops []netip.Addr
	Allow    bool
}

// Seen is what the network showed after an Apply.
type Seen struct {
	// Changed counts the rows or objects that had to be changed.
	Changed int
	// Up tells which of the unit's ports are bound and up, by name.
	Up map[string]bool
}

// Wait is an error: nothing is wrong, but something must come first.
type Wait struct {
	// Reason is a CamelCase word for a condition; For says in a sentence what is waited for.
	Reason, For string
	// After is when to look again even if no event came; 0 means an event will come.
	After time.Duration
}

func (w Wait) Error() string { return "waiting for " + w.For }

// Stop is an error that only a new spec can mend.
type Stop struct {
	// Reason is a CamelCase word for a condition; Why says what is wrong, with which object, and what to change.
	Reason, Why string
}

func (s Stop) Error() string { return s.Why }
