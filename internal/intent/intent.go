// Package intent holds the types that all fabrics share: what a unit wants of the
// network, in neither OVN's nor Neutron's terms, and what a fabric observed. It
// does no I/O and knows no database and no API.
package intent

import (
	"net/netip"
	"time"
)

// Unit is the name of the Kubernetes object that owns something in the network,
// as "<kind>/<name>" or "<kind>/<namespace>/<name>", for example
// "pod/net2/ubuntu".
type Unit string

// Want is everything that one unit wants. A zero Want means that nothing of the
// unit may remain. The order of the lists has no meaning.
type Want struct {
	// Fabric is what makes it; FabricOVN if empty. It has no meaning in a Want
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

// Fabric is one implementation of networks.
type Fabric string

// The fabrics. A unit has resources in one of them at a time.
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
	// LoadBalancersOf is the name of a router, ours or not, whose load balancers
	// this network also uses; empty for none. The fabric keeps this true when the
	// router's load balancers change.
	LoadBalancersOf string
	// Existing is the id of an existing OpenStack network, which is used and never
	// changed. It is empty for a network that we create.
	Existing string
	// Gateways are the router's addresses, one for each of Prefixes, in its order.
	Gateways []netip.Addr
	// Ranges are what a fabric that allocates addresses itself allocates from; all
	// of Prefixes if empty.
	Ranges []Range
	// SubnetPool is the OpenStack subnet pool of Prefixes, by id or name. If
	// Prefixes is empty, OpenStack chooses a prefix of length PrefixBits.
	SubnetPool string
	PrefixBits int
}

// Range is all addresses from First to Last.
type Range struct{ First, Last netip.Addr }

// RouterInterface connects a network of ours to a router.
type RouterInterface struct {
	Network string
	Router  string
	// Foreign is true if the router is not ours. The fabric may then write only
	// the reference to our port into it.
	Foreign bool
	// NetworkPort and RouterPort are the names of the two ports.
	NetworkPort, RouterPort string
	MAC                     MAC
	// Addresses are the router's addresses with the prefix length: 12.0.1.1/24.
	Addresses []netip.Prefix
}

// MAC is a hardware address in its usual text form, in lower case.
type MAC string

// Port connects an interface to a network.
type Port struct {
	Name    string
	Network string
	MAC     MAC
	Addrs   []netip.Addr
	// Version must match the interface that binds the port: it is the pod's UID.
	// If it is empty, any interface of that name binds the port.
	Version string
	// Groups are the names of the groups that the port is a member of.
	Groups []string
	// UnknownAddresses is true if the port also receives traffic for other
	// addresses.
	UnknownAddresses bool
	// Parent is the parent port of a port nested in a virtual machine: its id in
	// Neutron, which is also its name in OVN. Tag is the VLAN id that the port
	// had. If Tag is 0 or another subport of Parent has it, the fabric chooses
	// one. Observed.Ports has the result.
	Parent string
	Tag    int
	// MustBeUp makes the fabric return a Wait as long as the port is not up,
	// because no event will say when it is. It is false for a port that was up
	// before: that port stays usable.
	MustBeUp bool
	// Node is the node that binds the port; empty if it is not known.
	Node string
	// CloudGroups are the ids of security groups that are not ours. The port is in
	// them in addition to Groups.
	CloudGroups []string
	// Project is the id of the cloud project that owns the port; empty for ours.
	Project string
}

// Group is a named set of ports, with their addresses. A group without Rules is
// only a set. A group with Rules isolates its ports, except for what the rules
// permit.
type Group struct {
	Name  string
	Rules []Rule
}

// Rule permits traffic of a group's ports in one direction.
type Rule struct {
	Direction Direction
	// Protocol is tcp, udp, sctp or icmp; empty for any.
	Protocol string
	// First and Last are the range of ports; 0 for any.
	First, Last int
	// Remote, RemoteGroup and RemoteCloudGroup are the peer; at most one is set.
	// None means everybody.
	Remote netip.Prefix
	// RemoteGroup is the name of a group of ours. RemoteCloudGroup is the id of a
	// security group that is not ours.
	RemoteGroup, RemoteCloudGroup string
	// Family is 4 or 6; 0 for both. If Remote is set, it gives the family.
	Family int
}

// Direction is the direction of traffic as seen from the port.
type Direction string

// The two directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// LoadBalancer distributes the traffic to one address over members.
type LoadBalancer struct {
	// Name is "ns/svc".
	Name string
	// VIP is an address in Network.
	VIP     netip.Addr
	Network string
	// Project is the id of the cloud project that owns it; empty for ours.
	Project   string
	Listeners []Listener
	// FloatingIP is nil if none is wanted.
	FloatingIP *FloatingIP
}

// Listener is one port of a LoadBalancer, with its members.
type Listener struct {
	// Protocol is TCP, UDP or SCTP.
	Protocol string
	Port     int
	Members  []Member
	// Affinity keeps a client at its member.
	Affinity bool
	// ClientTimeout and MemberTimeout are idle timeouts; 0 for the provider's
	// default.
	ClientTimeout, MemberTimeout time.Duration
	// Sources are the prefixes that may connect; empty for everybody.
	Sources []netip.Prefix
}

// Member is an endpoint behind a Listener.
type Member struct {
	// Name is "ns/pod", without the port.
	Name    string
	Addr    netip.Addr
	Port    int
	Network string
}

// FloatingIP asks for an address that is reachable from outside.
type FloatingIP struct {
	// Network is the id of the external network.
	Network string
	// Addr is one that the user has; the zero Addr for any.
	Addr netip.Addr
}

// RoutePolicy routes packets on a router of ours differently from its routes.
// Exactly one of NextHops and Allow is set. Allow ends the evaluation of
// policies; the router's routes then apply.
type RoutePolicy struct {
	Router   string
	Priority int
	// From is the group whose members' addresses are the source; empty for any.
	From string
	// To is the destination; the zero Prefix for any.
	To       netip.Prefix
	NextHops []netip.Addr
	Allow    bool
}

// Observed is what the fabric observed after an Apply.
type Observed struct {
	// Changed counts the rows or objects that had to be changed.
	Changed int
	// Up tells which of the unit's ports are bound and up, by name.
	Up map[string]bool
	// Ports are the unit's ports for which the fabric chose something: addresses,
	// or the VLAN tag of a nested port. They are by name.
	Ports map[string]PortStatus
	// FloatingIPs are the floating IPs of the unit's load balancers, by the load
	// balancer's name.
	FloatingIPs map[string]netip.Addr
	// LoadBalancers are the unit's load balancers as they are now, by name.
	LoadBalancers map[string]LoadBalancerStatus
}

// PortStatus is a port as the fabric made it. Fields that the fabric did not
// choose are zero.
type PortStatus struct {
	// ID is the external_ids:iface-id of the interface that binds the port.
	ID  string
	MAC MAC
	// Addrs are the addresses with their network's prefix length.
	Addrs    []netip.Prefix
	Gateways []netip.Addr
	MTU      int
	// Tag is the VLAN id of a nested port.
	Tag int
}

// Wait is an error that means: nothing is wrong, but something else must happen
// first.
type Wait struct {
	// Reason is a CamelCase word for a condition; For completes the sentence
	// "waiting for …".
	Reason, For string
	// After is when to run the unit again even without an event; 0 if an event
	// will come.
	After time.Duration
}

func (w Wait) Error() string { return "waiting for " + w.For }

// Stop is an error that only a new spec can correct.
type Stop struct {
	// Reason is a CamelCase word for a condition; Why says what is wrong, with
	// which object, and what to change.
	Reason, Why string
}

func (s Stop) Error() string { return s.Why }
