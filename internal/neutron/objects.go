package neutron

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

// kind is a kind of object in Neutron's own word.
type kind string

const (
	kindGroup   kind = "security_group"
	kindRule    kind = "security_group_rule"
	kindNetwork kind = "network"
	kindSubnet  kind = "subnet"
	// kindJoin is a subnet's place on a router. It is no object of Neutron's own.
	kindJoin kind = "router_interface"
	kindPort kind = "port"
	// kindTrunk is somebody else's: a port that others may be behind.
	kindTrunk kind = "trunk"
)

// order is that of creation: each after what it may refer to. Deletion goes
// the other way.
var order = []kind{kindGroup, kindRule, kindNetwork, kindSubnet, kindJoin, kindPort}

// tagged tells whether Neutron can tag objects of that kind.
func (k kind) tagged() bool { return k != kindRule && k != kindJoin }

// object is one of Neutron's, as it is or as it is wanted. An object that is
// wanted has the fields that matter, and no id. Within a unit, kind and name
// say which it is.
type object struct {
	kind   kind
	name   string
	id     string
	tags   []string
	fields fields
}

// fields are an object's attributes by Neutron's names: string, bool, int, nil,
// set, fixedIPs, ranges, or a ref to another object of the same unit. A port that
// is behind another has parent and vlan besides; node says of one that is wanted
// on which that is.
type fields map[string]any

type (
	set      []string
	fixedIPs []fixedIP
	ranges   []addrRange
	ref      struct {
		kind kind
		name string
	}
	fixedIP struct {
		Subnet string `json:"subnet_id,omitempty"`
		Addr   string `json:"ip_address,omitempty"`
	}
	addrRange struct {
		First string `json:"start"`
		Last  string `json:"end"`
	}
)

// What Kuryr calls things.
const (
	deviceOwner = "compute:kuryr"
	// subportOwner is Neutron's own word for a port behind another, as long as it is.
	subportOwner = "trunk:subport"
	pooledName   = "kuryr-pool-port"
	joinOwner    = "network:router_interface"
)

// Network is a network as it stands in Neutron, ours or not.
type Segment struct {
	ID      string
	MTU     int
	Subnets []Subnet
}

// Subnet is an address range of a Segment.
type Subnet struct {
	ID      string
	Prefix  netip.Prefix
	Gateway netip.Addr // the zero Addr if it has none
}

// around is what a unit's objects depend on that is not the unit's own.
type around struct {
	project  string
	segments map[string]Segment
	// groups are our security groups by name; standard is the id of each
	// project's default group.
	groups, standard map[string]string
	// pools are those that the unit's segments take prefixes from, as it calls them.
	pools map[string]prefixPool
	// portSecurity and binding are Neutron's extensions.
	portSecurity, binding bool
}

// translate says which objects make a want true. It calls nobody. Its errors
// are intent.Wait and intent.Stop.
func translate(m mark, w intent.Want, a around) ([]object, error) {
	t := &translation{mark: m, want: w, around: a, objects: map[ref]object{}}
	t.refuseUnknown()
	for _, g := range w.Groups {
		t.group(g)
	}
	for _, s := range w.Networks {
		t.segment(s)
	}
	for _, j := range w.RouterInterfaces {
		t.join(j)
	}
	for _, p := range w.Ports {
		t.port(p)
	}
	return t.result()
}

type translation struct {
	mark
	around
	want       intent.Want
	objects    map[ref]object
	stop, wait error
}

func (t *translation) result() ([]object, error) {
	if t.stop != nil {
		return nil, t.stop
	}
	if t.wait != nil {
		return nil, t.wait
	}
	return slices.SortedFunc(maps.Values(t.objects), byOrder), nil
}

// byOrder sorts objects as they are to be made.
func byOrder(a, b object) int {
	if d := slices.Index(order, a.kind) - slices.Index(order, b.kind); d != 0 {
		return d
	}
	return strings.Compare(a.name+"\x00"+a.id, b.name+"\x00"+b.id)
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

// add finishes an object that is wanted.
func (t *translation) add(o object) ref {
	r := ref{o.kind, o.name}
	if _, twice := t.objects[r]; twice {
		t.refuse("NameTaken", "%s %q is wanted twice by %s", o.kind, o.name, t.unit)
	}
	if o.kind.tagged() {
		o.tags = t.tagsOf(o.fields)
		o.fields["name"] = o.name
		o.fields["description"] = t.description()
		if o.fields["project_id"] == nil && t.project != "" {
			o.fields["project_id"] = t.project
		}
	}
	t.objects[r] = o
	return r
}

func (t *translation) segment(s intent.Network) {
	if s.Existing != "" {
		return // looked at, not made
	}
	network := t.add(object{kind: kindNetwork, name: openstack.Shorten(s.Name), fields: fields{"admin_state_up": true}})
	if len(s.Prefixes) == 0 && s.SubnetPool != "" {
		t.chosen(s, network)
	}
	for i, p := range s.Prefixes {
		family := map[bool]int{true: 4, false: 6}[p.Addr().Is4()]
		f := fields{
			"network_id": network, "cidr": p.Masked().String(), "ip_version": family,
			"enable_dhcp": false, "gateway_ip": t.gateway(s, i),
		}
		if r := within(s.Ranges, p); len(r) > 0 {
			f["allocation_pools"] = r
		}
		if pool, known := t.pools[s.SubnetPool]; known {
			f["subnetpool_id"] = pool.ID
		}
		t.add(object{kind: kindSubnet, name: subnetName(s.Name, p), fields: f})
	}
}

// subnetName is Kuryr's way to tell the families apart.
func subnetName(segment string, p netip.Prefix) string {
	return subnetOf(segment, map[bool]int{true: 4, false: 6}[p.Addr().Is4()])
}

func subnetOf(segment string, family int) string {
	return openstack.Shorten(fmt.Sprintf("%s-IPv%d", segment, family))
}

// gateway is the router's address in a segment's prefix, nil if it has none.
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

func within(all []intent.Range, p netip.Prefix) ranges {
	var out ranges
	for _, r := range all {
		if p.Contains(r.First) && p.Contains(r.Last) {
			out = append(out, addrRange{r.First.String(), r.Last.String()})
		}
	}
	slices.SortFunc(out, func(a, b addrRange) int { return strings.Compare(a.First, b.First) })
	return out
}

// join puts each of a segment's subnets on a router: Neutron makes the port.
func (t *translation) join(j intent.RouterInterface) {
	i := slices.IndexFunc(t.want.Networks, func(s intent.Network) bool { return s.Name == j.Network && s.Existing == "" })
	if i < 0 {
		t.refuse("NotOurs", "segment %s is not ours: join it to router %s in Neutron", j.Network, j.Router)
		return
	}
	router := routerID(j.Router)
	for _, name := range t.subnetsOf(t.want.Networks[i]) {
		t.add(object{kind: kindJoin, name: joinName(router, name), fields: fields{
			"router_id": router, "subnet_id": ref{kindSubnet, name},
		}})
	}
}

// routerID is the id in a Vpc's name.
func routerID(router string) string { return strings.TrimPrefix(router, "neutron-") }

func joinName(router, subnet string) string { return router + "/" + subnet }
