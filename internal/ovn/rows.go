package ovn

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// id names a row by what its unit has it for, never by its UUID.
type id struct{ table, key string }

// ref points at a row: one that is there, by UUID, or one of the same unit.
type ref struct {
	uuid string
	id   id
}

// row is a row that a unit wants.
type row struct {
	id
	columns columns
	// home is the row that holds this one, if its table is one of homes.
	home ref
	// groups are the Port_Groups that hold this port besides.
	groups map[string]ref
}

// around is what a unit's rows depend on that is not the unit's own.
type around struct {
	switches, groups map[string]string // UUIDs by name
	routers          map[string]surroundingRouter
	// tags are the VLAN ids of the unit's ports behind others, by their names.
	tags map[string]int
	// taken says by whom a name is borne that the unit wants for a row.
	taken map[named]holder
}

type named struct{ table, name string }

type surroundingRouter struct {
	uuid      string
	ours      bool
	balancers []string // UUIDs of its load balancers
	subnet    string   // one of Neutron's on it
}

// translate says which rows make a want true. It reads no database. Its errors
// are intent.Wait and intent.Stop.
func translate(h holder, w intent.Want, a around) ([]row, error) {
	t := &translation{holder: h, around: a, rows: map[id]row{}}
	for _, r := range w.Routers {
		t.router(r)
	}
	for _, s := range w.Networks {
		t.segment(s)
	}
	for _, g := range w.Groups {
		t.group(g)
	}
	for _, j := range w.RouterInterfaces {
		t.join(j)
	}
	for _, p := range w.Ports {
		t.port(p)
	}
	for _, r := range w.RoutePolicies {
		t.reroute(r)
	}
	return t.result()
}

type translation struct {
	holder
	around
	rows map[id]row
	stop error
	wait error
}

func (t *translation) result() ([]row, error) {
	if t.stop != nil {
		return nil, t.stop
	}
	if t.wait != nil {
		return nil, t.wait
	}
	rows := make([]row, 0, len(t.rows))
	for _, r := range t.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int { return a.compare(b.id) })
	return rows, nil
}

// refuse keeps the first reason why only another spec helps.
func (t *translation) refuse(reason, format string, args ...any) {
	if t.stop == nil {
		t.stop = intent.Stop{Reason: reason, Why: fmt.Sprintf(format, args...)}
	}
}

// await keeps the first thing that must come first. No time to look again: an
// event will tell.
func (t *translation) await(reason, format string, args ...any) ref {
	if t.wait == nil {
		t.wait = intent.Wait{Reason: reason, For: fmt.Sprintf(format, args...)}
	}
	return ref{}
}

func (t *translation) add(r row) {
	if _, twice := t.rows[r.id]; twice {
		t.refuse("NameTaken", "%s %q is wanted twice by %s", what(r.table), r.columns.name(), t.unit)
	}
	if by, taken := t.taken[named{r.table, r.columns.name()}]; taken {
		t.refuse("NameTaken", "a %s of the name %q is there already and belongs to %s: choose another name, or remove it",
			what(r.table), r.columns.name(), by)
	}
	t.rows[r.id] = r
}

func (t *translation) router(r intent.Router) {
	key := kindRouter + r.Name
	t.add(row{id: id{nbdb.LogicalRouterTable, key}, columns: columns{
		"name": r.Name, "external_ids": t.marks(key),
	}})
}

func (t *translation) segment(s intent.Network) {
	key := kindSegment + s.Name
	t.add(row{id: id{nbdb.LogicalSwitchTable, key}, columns: columns{
		"name": s.Name, "other_config": pairs{}, "load_balancer": uuidsOf(t.routers[s.LoadBalancersOf].balancers),
		"external_ids": t.marks(key),
	}})
}

func (t *translation) group(g intent.Group) {
	key := kindGroup + g.Name
	t.add(row{id: id{nbdb.PortGroupTable, key}, columns: columns{
		"name": g.Name, "external_ids": t.marks(key),
	}})
}

// join makes a pair of ports: one on the switch, one on the router.
func (t *translation) join(j intent.RouterInterface) {
	router := t.refRouter(j.Router, j.Foreign)
	key := kindJoin + j.NetworkPort
	t.add(row{
		id: id{nbdb.LogicalSwitchPortTable, key}, home: t.refSwitch(j.Network),
		columns: columns{
			"name": j.NetworkPort, "type": "router", "addresses": setOf(string(j.MAC)), "port_security": set{},
			"options": pairs{"router-port": j.RouterPort}, "parent_name": set{}, "tag": ints{},
			"external_ids": t.marks(key, keySegment, j.Network),
		},
	})
	key = kindJoin + j.RouterPort
	marks := t.marks(key, keySegment, j.Network, keyRouter, j.Router)
	if subnet := t.routers[j.Router].subnet; j.Foreign && subnet != "" {
		// Octavia's provider looks up a subnet for each port of a router and
		// fails for the whole router where one has none.
		marks[neutronSubnets] = subnet
	}
	t.add(row{
		id: id{nbdb.LogicalRouterPortTable, key}, home: router,
		columns: columns{
			"name": j.RouterPort, "mac": string(j.MAC), "networks": setOf(texts(j.Addresses)...), "external_ids": marks,
		},
	})
}

func (t *translation) port(p intent.Port) {
	key := kindPort + p.Name
	groups := map[string]ref{}
	for _, g := range p.Groups {
		groups[g] = t.refGroup(g)
	}
	marks := t.marks(key, keySegment, p.Network)
	if len(groups) > 0 {
		marks[keyGroups] = strings.Join(setOf(p.Groups...), " ")
	}
	t.add(row{
		id: id{nbdb.LogicalSwitchPortTable, key}, home: t.refSwitch(p.Network), groups: groups,
		columns: columns{
			"name": p.Name, "type": "", "addresses": addresses(p), "port_security": security(p),
			"options": options(p), "parent_name": parent(p), "tag": t.tag(p), "external_ids": marks,
		},
	})
}

func addresses(p intent.Port) set {
	s := setOf(addressLine(p))
	if p.UnknownAddresses {
		s = setOf(append(s, "unknown")...)
	}
	return s
}

func security(p intent.Port) set {
	if p.UnknownAddresses {
		return set{}
	}
	return setOf(addressLine(p))
}

func addressLine(p intent.Port) string {
	words := []string{string(p.MAC)}
	for _, a := range slices.SortedFunc(slices.Values(p.Addrs), netip.Addr.Compare) {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// options say which interface binds the port; none does where it is behind another.
func options(p intent.Port) pairs {
	if p.Version == "" || p.Parent != "" {
		return pairs{}
	}
	return pairs{"iface-id-ver": p.Version}
}

func parent(p intent.Port) set {
	if p.Parent == "" {
		return set{}
	}
	return set{p.Parent}
}

func (t *translation) tag(p intent.Port) ints {
	if p.Parent == "" {
		return ints{}
	}
	tag, ok := t.tags[p.Name]
	if !ok {
		t.await(NoVLAN, "a VLAN id behind port %s: all %d are in use there, delete pods on that node", p.Parent, mostTags)
	}
	return ints{tag}
}

// reroute makes one policy for each address family that is meant.
func (t *translation) reroute(r intent.RoutePolicy) {
	router := t.refRouter(r.Router, false)
	if r.From != "" {
		t.refGroup(r.From)
	}
	for _, six := range []bool{false, true} {
		hops := t.hops(r, six)
		if meant := r.Allow || len(hops) > 0; !meant || r.To.IsValid() && r.To.Addr().Is6() != six {
			continue
		}
		family := map[bool]string{false: "ip4", true: "ip6"}[six]
		key := kindReroute + strings.Join([]string{r.Router, strconv.Itoa(r.Priority), r.From, to(r), family}, "/")
		t.add(row{
			id: id{nbdb.LogicalRouterPolicyTable, key}, home: router,
			columns: columns{
				"priority": r.Priority, "match": match(r, family), "action": action(r), "nexthops": hops,
				"external_ids": t.marks(key, keyRouter, r.Router),
			},
		})
		for _, hop := range hops {
			t.route(r, router, family, hop)
		}
	}
}

// route makes a packet get as far as the policies: OVN looks for a route
// first, and drops what has none. Several of them are chosen between at random,
// for packets that no policy meets.
func (t *translation) route(r intent.RoutePolicy, router ref, family, hop string) {
	destination := cmp.Or(to(r), map[string]string{"ip4": "0.0.0.0/0", "ip6": "::/0"}[family])
	key := kindRoute + strings.Join([]string{r.Router, destination, hop}, "/")
	route := row{
		id: id{nbdb.LogicalRouterRouteTable, key}, home: router,
		columns: columns{
			"ip_prefix": destination, "nexthop": hop, "external_ids": t.marks(key, keyRouter, r.Router),
		},
	}
	t.rows[route.id] = route // the same for several policies
}

func (t *translation) hops(r intent.RoutePolicy, six bool) set {
	s := set{}
	for _, h := range r.NextHops {
		if h.Is6() == six && !r.Allow {
			s = append(s, h.String())
		}
	}
	return setOf(s...)
}

func action(r intent.RoutePolicy) string {
	if r.Allow {
		return "allow"
	}
	return "reroute"
}

func to(r intent.RoutePolicy) string {
	if !r.To.IsValid() {
		return ""
	}
	return r.To.Masked().String()
}

// match is in the language of ovn-sb(5), Logical_Flow. A port group's name with
// _ip4 behind it is the set of its ports' addresses.
func match(r intent.RoutePolicy, family string) string {
	var terms []string
	if r.From != "" {
		terms = append(terms, family+".src == $"+r.From+"_"+family)
	}
	if r.To.IsValid() {
		terms = append(terms, family+".dst == "+to(r))
	}
	if len(terms) == 0 {
		return family
	}
	return strings.Join(terms, " && ")
}

func texts(prefixes []netip.Prefix) []string {
	var s []string
	for _, p := range prefixes {
		s = append(s, p.String())
	}
	return s
}

// refSwitch, refGroup and refRouter find what the unit refers to by name: among
// the rows that are there, then among its own.

func (t *translation) refSwitch(name string) ref {
	own := id{nbdb.LogicalSwitchTable, kindSegment + name}
	if uuid, ok := t.switches[name]; ok {
		return ref{uuid: uuid}
	}
	if _, ok := t.rows[own]; ok {
		return ref{id: own}
	}
	return t.await("WaitingForSegment", "the switch %s", name)
}

func (t *translation) refGroup(name string) ref {
	own := id{nbdb.PortGroupTable, kindGroup + name}
	if uuid, ok := t.groups[name]; ok {
		return ref{uuid: uuid}
	}
	if _, ok := t.rows[own]; ok {
		return ref{id: own}
	}
	return t.await("WaitingForGroup", "the port group %s", name)
}

func (t *translation) refRouter(name string, foreign bool) ref {
	own := id{nbdb.LogicalRouterTable, kindRouter + name}
	if r, ok := t.routers[name]; ok {
		if !foreign && !r.ours {
			t.refuse("NotOurs", "router %s belongs to somebody else: only a port may be added to it", name)
		}
		return ref{uuid: r.uuid}
	}
	if _, ok := t.rows[own]; ok {
		return ref{id: own}
	}
	return t.await("WaitingForRouter", "the router %s", name)
}
