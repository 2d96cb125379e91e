package nodenet

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

const (
	// protocol is the routing protocol number that marks our routes and our rule.
	protocol = 73
	// probeTable has the routes to probed pods. Only packets that the node's own
	// processes send, and that have our mark, use it.
	probeTable = 7349
	mainTable  = 254
	anyTable   = 0
)

// kernelState is the kernel's present state.
type kernelState struct {
	links  map[string]link
	routes []route
}

// link is a network interface. Its addresses have no prefix lengths.
type link struct {
	addrs []netip.Addr
	up    bool
}

// route is an entry of the main table or of ours.
type route struct {
	table    int
	dst      netip.Prefix
	via      netip.Addr
	link     string
	protocol int
	metric   int
}

func (r route) String() string {
	via := ""
	if r.via.IsValid() {
		via = fmt.Sprintf(" via %s", r.via)
	}
	return fmt.Sprintf("%s%s dev %s", r.dst, via, r.link)
}

// ours returns our routes in a table.
func (h kernelState) ours(table int) []route { return ours(h.routes, table) }

func ours(routes []route, table int) []route {
	var found []route
	for _, r := range routes {
		if r.protocol == protocol && (table == anyTable || r.table == table) {
			found = append(found, r)
		}
	}
	return found
}

// plan is the wanted network of the node, in a form that does not depend on netlink and
// nftables.
type plan struct {
	routes   []route          // of the main table
	paths    []path           // to the pods that can be probed
	links    []string         // every host link, with or without a path
	sources  []netipx.IPRange // State.Masquerade
	inside   []netipx.IPRange // State.Local
	refusals []Refusal
	err      error // why some routes cannot be made; nil if all can
}

// path leads from the node's processes to one address behind a host link.
type path struct {
	addr netip.Addr
	link string
}

func (p path) route() route {
	return route{table: probeTable, dst: netip.PrefixFrom(p.addr, p.addr.BitLen()), link: p.link, protocol: protocol}
}

// decide returns the plan for a state, given what is in the kernel. The order of
// the state's lists does not matter.
func decide(s State, h kernelState) plan {
	p := plan{sources: merge(s.Masquerade), inside: merge(s.Local), links: hostLinks(s.Probes)}
	p.routes, p.err = nodeRoutes(s, h)
	p.paths, p.refusals = paths(s, h)
	return p
}

// merge returns the prefixes as sorted ranges that do not overlap. An nftables set with
// intervals needs this form.
func merge(prefixes []netip.Prefix) []netipx.IPRange {
	var b netipx.IPSetBuilder
	for _, p := range prefixes {
		b.AddPrefix(p)
	}
	set, err := b.IPSet()
	if err != nil {
		return nil // only an invalid prefix gives an error
	}
	return set.Ranges()
}

func hostLinks(probes []Probe) []string {
	var names []string
	for _, p := range probes {
		if p.Link != "" && len(p.Link) < maxName {
			names = append(names, p.Link)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nodeRoutes returns the routes through ovn0. The error joins the reasons of all routes
// that cannot be made.
func nodeRoutes(s State, h kernelState) ([]route, error) {
	var wanted []route
	var errs []error
	for _, dst := range sortedPrefixes(s.Routes) {
		r := route{table: mainTable, dst: dst, via: gateway(s.Node, dst.Addr()), link: NodeLink, protocol: protocol}
		switch err := r.refuse(h); {
		case s.Node.IfaceID == "":
		case err != nil:
			errs = append(errs, err)
		default:
			wanted = append(wanted, r)
		}
	}
	return wanted, errors.Join(errs...)
}

func sortedPrefixes(prefixes []netip.Prefix) []netip.Prefix {
	masked := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		masked = append(masked, p.Masked())
	}
	slices.SortFunc(masked, comparePrefixes)
	return slices.Compact(masked)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func gateway(i Interface, to netip.Addr) netip.Addr {
	for _, g := range i.Gateways {
		if g.Is4() == to.Is4() {
			return g
		}
	}
	return netip.Addr{}
}

// refuse returns an error if a pod network cannot be routed through ovn0. One reason is
// a route of others to the same network: the kernel does not compare protocols, so our
// route would replace it.
func (r route) refuse(h kernelState) error {
	if r.dst.Bits() <= 0 {
		return fmt.Errorf("route to %s: would replace the node's own default route; name the pod networks instead", r.dst)
	}
	if !r.via.IsValid() {
		return fmt.Errorf("route to %s: %s has no gateway of that family", r.dst, NodeLink)
	}
	for _, o := range h.routes {
		if o.table == mainTable && o.protocol != protocol && o.dst == r.dst && o.metric == defaultMetric(r.dst) {
			return fmt.Errorf("route to %s: the node has one already that is not ours (%s); remove it or choose another CIDR", r.dst, o)
		}
	}
	return nil
}

func defaultMetric(dst netip.Prefix) int {
	if dst.Addr().Is4() {
		return 0
	}
	return 1024
}

// paths returns a path for each possible probe, sorted by address, and a refusal for
// each of the others.
func paths(s State, h kernelState) ([]path, []Refusal) {
	probes := slices.Clone(s.Probes)
	slices.SortFunc(probes, func(a, b Probe) int {
		return cmp.Or(a.Addr.Compare(b.Addr), strings.Compare(a.Pod, b.Pod), strings.Compare(a.Link, b.Link))
	})
	probes = slices.Compact(probes)
	var found []path
	var refused []Refusal
	for _, p := range probes {
		if why := p.refuse(s, h, probes); why != "" {
			refused = append(refused, Refusal{Pod: p.Pod, Why: why})
			continue
		}
		found = append(found, path{addr: p.Addr, link: p.Link})
	}
	return found, refused
}

// refuse returns why the pod cannot be probed over its host link; empty if it can.
func (p Probe) refuse(s State, h kernelState, all []Probe) string {
	for _, why := range []string{p.refuseLink(h), p.refuseDuplicate(all), p.refuseRouted(s, h)} {
		if why != "" {
			return why
		}
	}
	return ""
}

func (p Probe) refuseLink(h kernelState) string {
	if !p.Addr.Is4() {
		return fmt.Sprintf("a host link carries IPv4 only, not %s", p.Addr)
	}
	if _, ok := h.links[p.Link]; !ok {
		return fmt.Sprintf("its host link %q is not on the node", p.Link)
	}
	return ""
}

func (p Probe) refuseDuplicate(all []Probe) string {
	for _, o := range all {
		if o == p {
			continue
		}
		if o.Addr == p.Addr {
			return fmt.Sprintf("its address %s is on this node twice: also pod %s, link %s", p.Addr, o.Pod, o.Link)
		}
		if o.Link == p.Link && o.Pod != p.Pod {
			return fmt.Sprintf("its host link %s is also that of pod %s", p.Link, o.Pod)
		}
	}
	return ""
}

// refuseRouted returns why the pod cannot be probed if the node reaches its address
// without us; empty if the node does not. A path would divert connections to the machine
// that really has the address.
func (p Probe) refuseRouted(s State, h kernelState) string {
	for name, l := range h.links {
		if slices.Contains(l.addrs, p.Addr) {
			return fmt.Sprintf("its address %s is also the node's own, on %s", p.Addr, name)
		}
	}
	for _, dst := range s.Routes {
		if dst.Contains(p.Addr) {
			return fmt.Sprintf("its address %s is also one of pod network %s, which the node reaches through %s", p.Addr, dst.Masked(), NodeLink)
		}
	}
	for _, r := range h.routes {
		if r.table == mainTable && r.protocol != protocol && r.dst.Bits() > 0 && r.dst.Contains(p.Addr) {
			return fmt.Sprintf("the node itself routes its address %s: %s", p.Addr, r)
		}
	}
	return ""
}

// routeChange turns the existing routes into the wanted ones. put is done before drop,
// so that a changed next hop is replaced without a gap.
type routeChange struct{ put, drop []route }

// diffRoutes returns the change from our existing routes to the wanted ones.
func diffRoutes(want, have []route) routeChange {
	var c routeChange
	for _, w := range want {
		if !slices.ContainsFunc(have, w.same) {
			c.put = append(c.put, w)
		}
	}
	for _, h := range have {
		// put replaces a route that has a wanted destination.
		if !slices.ContainsFunc(want, h.sameDst) {
			c.drop = append(c.drop, h)
		}
	}
	return c
}

func (r route) sameDst(o route) bool { return r.table == o.table && r.dst == o.dst }

func (r route) same(o route) bool { return r.sameDst(o) && r.via == o.via && r.link == o.link }
