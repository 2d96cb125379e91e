package nodenet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

// rulePriority places our rule before all tables except the local one. The rule does
// not affect others: it applies only to packets of the node's own with our mark.
const rulePriority = 73

// read returns the links, addresses and routes.
func (k kernel) read() (kernelState, error) {
	h := kernelState{links: map[string]link{}}
	links, err := k.LinkList()
	if err != nil {
		return kernelState{}, fmt.Errorf("list network interfaces: %w", err)
	}
	addrs, err := k.addrs()
	if err != nil {
		return kernelState{}, fmt.Errorf("list addresses: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		h.links[a.Name] = link{addrs: addrs[a.Index], up: a.Flags&net.FlagUp != 0}
	}
	h.routes, err = k.routes(names)
	return h, err
}

func (k kernel) addrs() (map[int][]netip.Addr, error) {
	all, err := repeatDump(func() ([]netlink.Addr, error) { return k.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	byLink := map[int][]netip.Addr{}
	for _, a := range all {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			byLink[a.LinkIndex] = append(byLink[a.LinkIndex], addr.Unmap())
		}
	}
	return byLink, nil
}

// repeatDump repeats a dump that a change in the kernel has interrupted, up to five
// times.
func repeatDump[T any](dump func() (T, error)) (T, error) {
	for range 4 {
		if v, err := dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return v, err
		}
	}
	return dump()
}

// routes returns the routes of the main table and of ours. names has the links'
// names by index.
func (k kernel) routes(names map[int]string) ([]route, error) {
	var found []route
	for _, table := range []int{mainTable, probeTable} {
		list, err := k.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes of table %d: %w", table, err)
		}
		for _, r := range list {
			found = append(found, fromKernel(r, names))
		}
	}
	return found, nil
}

func fromKernel(r netlink.Route, names map[int]string) route {
	via, _ := netip.AddrFromSlice(r.Gw)
	return route{table: r.Table, dst: prefixOf(r), via: via.Unmap(), link: names[r.LinkIndex], protocol: int(r.Protocol), metric: r.Priority}
}

// prefixOf returns a route's destination. The kernel may leave out the destination of
// a default route.
func prefixOf(r netlink.Route) netip.Prefix {
	if r.Dst != nil {
		p, _ := netipx.FromStdIPNet(r.Dst)
		return p
	}
	if r.Family == unix.AF_INET6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// setRoutes makes the changes. If one fails, it still makes the others.
func (k kernel) setRoutes(c routeChange) error {
	var errs []error
	for _, r := range c.put {
		errs = append(errs, k.putRoute(r))
	}
	for _, r := range c.drop {
		errs = append(errs, k.dropRoute(r))
	}
	return errors.Join(errs...)
}

func (k kernel) putRoute(r route) error {
	l, err := k.LinkByName(r.link)
	if err != nil {
		return fmt.Errorf("route %s: %w", r, err)
	}
	if err := k.RouteReplace(r.toKernel(l.Attrs().Index)); err != nil {
		return fmt.Errorf("route %s: %w", r, err)
	}
	k.log.Info("route set", "route", r.String(), "table", r.table)
	return nil
}

func (k kernel) dropRoute(r route) error {
	// If the link is gone, its routes are gone, too.
	l, err := k.LinkByName(r.link)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = k.RouteDel(r.toKernel(l.Attrs().Index))
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route %s: %w", r, err)
	}
	k.log.Info("route removed", "route", r.String(), "table", r.table)
	return nil
}

func (r route) toKernel(index int) *netlink.Route {
	k := &netlink.Route{LinkIndex: index, Dst: netipx.PrefixIPNet(r.dst), Protocol: protocol, Table: r.table, Type: unix.RTN_UNICAST}
	if r.via.IsValid() {
		k.Gw = r.via.AsSlice()
		return k
	}
	k.Scope = netlink.SCOPE_LINK
	return k
}

// probeRule returns the rule that makes the node's own packets with our mark use
// probeTable. "iif lo" excludes forwarded packets.
func probeRule() *netlink.Rule {
	mask := uint32(markBit)
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Protocol = netlink.FAMILY_V4, rulePriority, probeTable, protocol
	r.Mark, r.Mask, r.IifName = markBit, &mask, "lo"
	return r
}

func (k kernel) ourRules() ([]netlink.Rule, error) {
	rules, err := repeatDump(func() ([]netlink.Rule, error) { return k.RuleList(netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list routing rules: %w", err)
	}
	return slices.DeleteFunc(rules, func(r netlink.Rule) bool { return r.Protocol != protocol || r.Table != probeTable }), nil
}

func (k kernel) ensureRule() error {
	rules, err := k.ourRules()
	if err != nil || len(rules) > 0 {
		return err
	}
	if err := k.RuleAdd(probeRule()); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("routing rule for table %d: %w", probeTable, err)
	}
	k.log.Info("routing rule set", "table", probeTable)
	return nil
}

func (k kernel) dropRules() error {
	rules, err := k.ourRules()
	for _, r := range rules {
		if e := k.RuleDel(&r); e != nil && !errors.Is(e, unix.ENOENT) {
			err = errors.Join(err, fmt.Errorf("remove routing rule for table %d: %w", probeTable, e))
		}
	}
	return err
}
