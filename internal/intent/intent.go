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
	// Fabric is what makes it; empty for FabricOVN. It does not matter in a Want
	// that is otherwise zero.
	Fabric           Fabric
	Routers          []Router
	Networks         []Network
	RouterInterfaces []RouterInterface
	Ports            []Port
	Groups           []Group
	RoutePolicies    []RoutePolicy
	LoadBalancers    []LoadBalancer
}

// Fabric names one way in which networks come to exist.
type Fabric string

// The fabrics. A unit has things in one of them at a time.
const (
	FabricOVN     Fabric = "ovn"
	FabricNeutron Fabric = "neutron"
	FabricOctavia Fabric = "octavia"
)

// Empty tells whether nothing is wanted.
func (w Want) Empty() bool {
	return len(w.Routers)+len(w.Networks)+len(w.RouterInterfaces)+len(w.Ports)+len(w.Groups)+len(w.RoutePolicies)+len(w.LoadBalancers) == 0
}

// Router is a layer 3 domain that we own.
type Router struct{ Name string }

// Network is a layer 2 domain that we own.
type Network struct {
	Name string
	// Prefixes are its networks, at most one of each family.
	Prefixes []netip.Prefix
	// LoadBalancersOf names a router (ours or not) whose load balancers the
	// segment refers to, too; empty for none. The fabric keeps that true as
	// the router's load balancers come and go.
	LoadBalancersOf string
	// Existing is the id of a cloud's network that stands already: it is used
	// and never changed. Empty for a network that we make.
	Existing string
	// Gateways are the router's addresses, one for each of Prefixes, in its order.
	Gateways []netip.Addr
	// Ranges are where a fabric that gives out addresses itself takes them
	// from; all of Prefixes if empty.
	Ranges []Range
	// SubnetPool is the cloud's pool of prefixes, by id or name, that Prefixes are
	// taken from. Without any the cloud chooses one that has PrefixBits.
	SubnetPool string
	PrefixBits int
}

// Range is all addresses from First to Last.
type Range struct{ First, Last netip.Addr }

// RouterInterface connects a segment of ours to a router.
type RouterInterface struct {
	Network string
	Router  string
	// Foreign is true when the router is somebody else's: nothing but the one
	// reference to our port may then be written into it.
	Foreign bool
	// NetworkPort and RouterPort are the names of the two ports.
	NetworkPort, RouterPort string
	MAC                     MAC
	// Addresses are the router's addresses with the prefix length: 12.0.1.1/24.
	Addresses []netip.Prefix
}

// MAC is a hardware address in its usual text form, in lower case.
type MAC string

// Port is an interface's place on a segment.
type Port struct {
	Name    string
	Network string
	MAC     MAC
	Addrs   []netip.Addr
	// Version must be matched by the interface that binds the port: the UID of
	// the pod. Empty means that any interface of that name binds it.
	Version string
	// Groups are those that the port is a member of.
	Groups []string
	// UnknownAddresses is true when the port also takes traffic for other addresses.
	UnknownAddresses bool
	// Parent names the port that this one is behind, for a port nested in a
	// virtual machine: Neutron's id of it, and its name in OVN. Tag is the VLAN id
	// that it had; without any, or where another behind Parent has it, the fabric
	// chooses. Which it is, is seen.
	Parent string
	Tag    int
	// MustBeUp asks for a Wait as long as the port is not up: nobody else will
	// see it come up. Not for one that was up, for that stays usable.
	MustBeUp bool
	// Node is the machine that binds it, if known.
	Node string
	// CloudGroups are ids of security groups that are not ours, beside Groups.
	CloudGroups []string
	// Project is the id of the cloud project that owns the port; empty for ours.
	Project string
}

// Group is a named set of ports, its address set included. Without Rules it
// is only a set; with them its ports are isolated, and the rules say what is
// let through all the same.
type Group struct {
	Name  string
	Rules []Rule
}

// Rule lets traffic of a group's ports through, in one direction.
type Rule struct {
	Direction Direction
	// Protocol is tcp, udp, sctp or icmp; empty for any.
	Protocol string
	// First and Last port; 0 for any.
	First, Last int
	// The peer is one of these; none of them means anybody.
	Remote netip.Prefix
	// RemoteGroup is a group of ours, RemoteCloudGroup the id of another's.
	RemoteGroup, RemoteCloudGroup string
	// Family is 4 or 6; 0 for both. With Remote it follows from that.
	Family int
}

// Direction is as seen from the port.
type Direction string

// The two directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// LoadBalancer spreads what comes to one address over members.
type LoadBalancer struct {
	// Name is "ns/svc".
	Name string
	// VIP lies in Segment.
	VIP     netip.Addr
	Network string
	// Project is the id of the cloud project that owns it; empty for ours.
	Project   string
	Listeners []Listener
	// FloatingIP is nil where none is wanted.
	FloatingIP *FloatingIP
}

// Listener is one port of a Balancer, with the members behind it.
type Listener struct {
	// Protocol is TCP, UDP or SCTP.
	Protocol string
	Port     int
	Members  []Member
	// Affinity keeps a client at its member.
	Affinity bool
	// ClientTimeout and MemberTimeout are idle timeouts; 0 for the provider's own.
	ClientTimeout, MemberTimeout time.Duration
	// Sources are who may come; none means anybody.
	Sources []netip.Prefix
}

// Member is an address behind a Listener.
type Member struct {
	// Name is "ns/pod", without the port.
	Name    string
	Addr    netip.Addr
	Port    int
	Network string
}

// FloatingIP asks for an address that is reached from outside.
type FloatingIP struct {
	// Network is the id of the external network.
	Network string
	// Addr is one that the user has; the zero Addr for any.
	Addr netip.Addr
}

// RoutePolicy sends packets on a router of ours to another next hop than its
// routes say. Exactly one of NextHops or Allow is meant: Allow ends the search
// without rerouting.
type RoutePolicy struct {
	Router   string
	Priority int
	// From is a group whose addresses are the source; empty for any.
	From string
	// To is the destination; the zero Prefix for any.
	To       netip.Prefix
	NextHops []netip.Addr
	Allow    bool
}

// Observed is what the network showed after an Apply.
type Observed struct {
	// Changed counts the rows or objects that had to be changed.
	Changed int
	// Up tells which of the unit's ports are bound and up, by name.
	Up map[string]bool
	// Ports are what the fabric made of those of the unit's ports that it had
	// something to choose for: addresses, or the tag of one behind another.
	Ports map[string]PortStatus
	// FloatingIP are the addresses from outside of the unit's balancers, by name.
	FloatingIPs map[string]netip.Addr
	// LoadBalancerStatus are the unit's balancers as they stand, by name.
	LoadBalancers map[string]LoadBalancerStatus
}

// PortStatus is a port as the fabric made it; what the fabric did not choose is left
// out.
type PortStatus struct {
	// ID is what the interface must bear to bind it: external_ids:iface-id.
	ID  string
	MAC MAC
	// Addrs have their network's prefix length.
	Addrs    []netip.Prefix
	Gateways []netip.Addr
	MTU      int
	// Tag is the VLAN id of a port behind another.
	Tag int
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
