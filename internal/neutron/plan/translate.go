// Package plan translates what a unit wants into Neutron's objects, and computes the
// steps from the objects that exist to those that are wanted. It is pure: it reads
// nothing and makes no calls.
//
//	intent.Want ──Translate──▶ []Object ──Diff(have)──▶ []Step
//
// Read translate.go and ports.go for the objects, plan.go for the steps and their order,
// and owner.go for the tags that name an object's owner. The package does not know how a
// step is executed or what other units have.
package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Kind is a kind of object, by Neutron's name.
type Kind string

// The kinds.
const (
	KindGroup   Kind = "security_group"
	KindRule    Kind = "security_group_rule"
	KindNetwork Kind = "network"
	KindSubnet  Kind = "subnet"
	// KindRouterInterface is a subnet's attachment to a router. Neutron has no object of
	// its own for it.
	KindRouterInterface Kind = "router_interface"
	KindPort            Kind = "port"
	// KindTrunk is a foreign object: a trunk with subports.
	KindTrunk Kind = "trunk"
)

// order is the order of creation: each kind comes after those that it may refer to.
// Deletion uses the reverse order.
var order = []Kind{KindGroup, KindRule, KindNetwork, KindSubnet, KindRouterInterface, KindPort}

// Tagged reports whether Neutron can tag objects of kind k.
func (k Kind) Tagged() bool { return k != KindRule && k != KindRouterInterface }

// Object is a Neutron object, existing or wanted. A wanted object has no id, and only the
// fields that matter. Kind and name identify an object within a unit.
type Object struct {
	Kind   Kind
	Name   string
	ID     string
	Tags   []string
	Fields Fields
}

// Fields are an object's attributes by Neutron's names. Values are string, bool, int,
// nil, Set, FixedIPs, Ranges, or a Ref to another object of the same unit. A subport also
// has parent and vlan, and a wanted subport has node, the parent's node.
type Fields map[string]any

type (
	// Set is a list whose order has no meaning.
	Set []string
	// FixedIPs are a port's addresses, in any order.
	FixedIPs []FixedIP
	// Ranges are a subnet's allocation pools, in any order.
	Ranges []Range
	// Ref stands for the id of another object of the same unit that has no id yet.
	Ref struct {
		Kind Kind
		Name string
	}
	// FixedIP is an address in a subnet. Neutron chooses whichever of the two is empty.
	FixedIP struct {
		Subnet string `json:"subnet_id,omitempty"`
		Addr   string `json:"ip_address,omitempty"`
	}
	// Range is all addresses from First to Last.
	Range struct {
		First string `json:"start"`
		Last  string `json:"end"`
	}
)

// Names that Kuryr uses.
const (
	DeviceOwner = "compute:kuryr"
	// SubportOwner is the device_owner that Neutron gives a port while it is a subport.
	SubportOwner         = "trunk:subport"
	PooledName           = "kuryr-pool-port"
	RouterInterfaceOwner = "network:router_interface"
)

// Network is a network in Neutron, ours or foreign.
type Network struct {
	ID      string
	MTU     int
	Subnets []Subnet
}

// Subnet is a subnet of a Network.
type Subnet struct {
	ID      string
	Prefix  netip.Prefix
	Gateway netip.Addr // the zero Addr if it has none
}

// Dependencies are the objects outside the unit that its objects refer to.
type Dependencies struct {
	Project  string
	Networks map[string]Network
	// Groups has the ids of our security groups by name, DefaultGroups the id of each
	// project's default group by the project's id.
	Groups, DefaultGroups map[string]string
	// Pools has the subnet pools that the unit's networks name, by that name.
	Pools map[string]PrefixPool
	// PortSecurity and Binding report whether Neutron has the extension of that name.
	PortSecurity, Binding bool
}

// Translate returns the objects that w asks for, in order of creation. It returns an
// intent.Stop if Neutron cannot provide them, and an intent.Wait if a dependency is
// missing.
func Translate(m Owner, w intent.Want, a Dependencies) ([]Object, error) {
	t := &translation{Owner: m, want: w, Dependencies: a, objects: map[Ref]Object{}}
	t.refuseUnknown()
	for _, g := range w.Groups {
		t.group(g)
	}
	for _, s := range w.Networks {
		t.network(s)
	}
	for _, j := range w.RouterInterfaces {
		t.routerInterfaces(j)
	}
	for _, p := range w.Ports {
		t.port(p)
	}
	return t.result()
}

type translation struct {
	Owner
	Dependencies
	want       intent.Want
	objects    map[Ref]Object
	stop, wait error
}

func (t *translation) result() ([]Object, error) {
	if t.stop != nil {
		return nil, t.stop
	}
	if t.wait != nil {
		return nil, t.wait
	}
	return slices.SortedFunc(maps.Values(t.objects), byOrder), nil
}

// byOrder compares objects in the order of their creation.
func byOrder(a, b Object) int {
	if d := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); d != 0 {
		return d
	}
	return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
}

func (t *translation) refuse(reason, format string, args ...any) {
	if t.stop == nil {
		t.stop = intent.Stop{Reason: reason, Why: fmt.Sprintf(format, args...)}
	}
}

func (t *translation) await(reason string, after time.Duration, format string, args ...any) {
	if t.wait == nil {
		t.wait = intent.Wait{Reason: reason, For: fmt.Sprintf(format, args...), After: after}
	}
}

func (t *translation) refuseUnknown() {
	switch w := t.want; {
	case len(w.Routers) > 0:
		t.refuse("NotSupported", "router %s: routers are made in Neutron; name one that is there", w.Routers[0].Name)
	case len(w.RoutePolicies) > 0:
		t.refuse("NotSupported", "Neutron's routers have no policies")
	case len(w.LoadBalancers) > 0:
		t.refuse("NotSupported", "balancer %s: Neutron has no load balancers, Octavia has", w.LoadBalancers[0].Name)
	}
}

// add adds a wanted object, with its tags, name, description and project.
func (t *translation) add(o Object) Ref {
	r := Ref{Kind: o.Kind, Name: o.Name}
	if _, exists := t.objects[r]; exists {
		t.refuse("NameTaken", "%s %q is wanted twice by %s", o.Kind, o.Name, t.Unit)
	}
	if o.Kind.Tagged() {
		o.Tags = t.TagsOf(o.Fields)
		o.Fields["name"] = o.Name
		o.Fields["description"] = t.Description()
		if o.Fields["project_id"] == nil && t.Project != "" {
			o.Fields["project_id"] = t.Project
		}
	}
	t.objects[r] = o
	return r
}

func (t *translation) network(s intent.Network) {
	if s.Existing != "" {
		return // a foreign network is read, not created
	}
	network := t.add(Object{Kind: KindNetwork, Name: openstack.Shorten(s.Name), Fields: Fields{"admin_state_up": true}})
	if len(s.Prefixes) == 0 && s.SubnetPool != "" {
		t.pooledSubnet(s, network)
	}
	for i, p := range s.Prefixes {
		family := map[bool]int{true: 4, false: 6}[p.Addr().Is4()]
		f := Fields{
			"network_id": network, "cidr": p.Masked().String(), "ip_version": family,
			"enable_dhcp": false, "gateway_ip": t.gateway(s, i),
		}
		if r := rangesIn(s.Ranges, p); len(r) > 0 {
			f["allocation_pools"] = r
		}
		if pool, known := t.Pools[s.SubnetPool]; known {
			f["subnetpool_id"] = pool.ID
		}
		t.add(Object{Kind: KindSubnet, Name: subnetName(s.Name, p), Fields: f})
	}
}

// subnetName returns the name that Kuryr gives a network's subnet of the prefix's family.
func subnetName(segment string, p netip.Prefix) string {
	return subnetOf(segment, map[bool]int{true: 4, false: 6}[p.Addr().Is4()])
}

func subnetOf(segment string, family int) string {
	return openstack.Shorten(fmt.Sprintf("%s-IPv%d", segment, family))
}

// gateway returns the router's address in the network's i-th prefix, nil if there is
// none.
func (t *translation) gateway(s intent.Network, i int) any {
	if i < len(s.Gateways) && s.Gateways[i].IsValid() {
		return s.Gateways[i].String()
	}
	for _, j := range t.want.RouterInterfaces {
		for _, n := range j.Addresses {
			if j.Network == s.Name && s.Prefixes[i].Contains(n.Addr()) {
				return n.Addr().String()
			}
		}
	}
	return nil
}

func rangesIn(all []intent.Range, p netip.Prefix) Ranges {
	var out Ranges
	for _, r := range all {
		if p.Contains(r.First) && p.Contains(r.Last) {
			out = append(out, Range{First: r.First.String(), Last: r.Last.String()})
		}
	}
	slices.SortFunc(out, func(a, b Range) int { return strings.Compare(a.First, b.First) })
	return out
}

// routerInterfaces attaches each of a network's subnets to a router. Neutron creates the
// router's port.
func (t *translation) routerInterfaces(j intent.RouterInterface) {
	i := slices.IndexFunc(t.want.Networks, func(s intent.Network) bool { return s.Name == j.Network && s.Existing == "" })
	if i < 0 {
		t.refuse("NotOurs", "segment %s is not ours: join it to router %s in Neutron", j.Network, j.Router)
		return
	}
	router := routerID(j.Router)
	for _, name := range t.subnetsOf(t.want.Networks[i]) {
		t.add(Object{Kind: KindRouterInterface, Name: interfaceName(router, name), Fields: Fields{
			"router_id": router, "subnet_id": Ref{Kind: KindSubnet, Name: name},
		}})
	}
}

// routerID returns the router's id in the name of a Vpc.
func routerID(router string) string { return strings.TrimPrefix(router, "neutron-") }

func interfaceName(router, subnet string) string { return router + "/" + subnet }

// PrefixPool is a subnet pool in Neutron.
type PrefixPool struct {
	ID     string
	Family int
}

// pooledSubnet adds a subnet whose prefix Neutron allocates from a subnet pool.
func (t *translation) pooledSubnet(s intent.Network, network Ref) {
	pool := t.Pools[s.SubnetPool]
	t.add(Object{Kind: KindSubnet, Name: subnetOf(s.Name, pool.Family), Fields: Fields{
		"network_id": network, "subnetpool_id": pool.ID, "prefixlen": s.PrefixBits, "ip_version": pool.Family, "enable_dhcp": false,
	}})
}

// subnetsOf returns the names of a network's subnets.
func (t *translation) subnetsOf(s intent.Network) []string {
	if len(s.Prefixes) == 0 && s.SubnetPool != "" {
		return []string{subnetOf(s.Name, t.Pools[s.SubnetPool].Family)}
	}
	var names []string
	for _, p := range s.Prefixes {
		names = append(names, subnetName(s.Name, p))
	}
	return names
}
