// Package claim translates claims, which are IP objects, and Subnets into a pod's port,
// the node's own interface, and the networks that the node reaches. It is pure: it reads
// neither the API server nor the kernel.
package claim

import (
	"fmt"
	"net/netip"
	"strings"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// Port returns the port to plug for a pod's claim. It errs if the claim has an
// address, gateway or route that cannot be parsed.
func Port(ip *v1.IP, a cniwire.Attachment) (plug.Port, error) {
	spec := ip.Spec
	p := plug.Port{
		Container: a.Container, Link: a.Link, Pod: spec.Namespace + "/" + spec.PodName, UID: spec.PodUID,
		MAC: intent.MAC(strings.ToLower(spec.MacAddress)), MTU: int(spec.MTU), HostLink: spec.HostLink,
	}
	if spec.Attach.OVS != nil {
		p.IfaceID, p.IfaceIDVer = spec.Attach.OVS.IfaceID, spec.Attach.OVS.IfaceIDVer
	}
	if spec.Attach.VLAN != nil {
		p.Parent, p.Tag = intent.MAC(strings.ToLower(spec.Attach.VLAN.Parent)), int(spec.Attach.VLAN.Tag)
	}
	var err error
	if p.Addrs, err = Addrs(spec); err == nil {
		p.Gateways, err = gateways(spec)
	}
	if err == nil {
		p.Routes, err = parseRoutes(spec.Routes)
	}
	if err != nil {
		return plug.Port{}, fmt.Errorf("claim %s is invalid: %w", ip.Name, err)
	}
	return p, nil
}

// Addrs returns the claim's addresses, at most one of each family, with the Subnet's
// prefix length, or with that of a single address if the claim has none.
func Addrs(spec v1.IPSpec) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, a := range []struct {
		text string
		bits int32
	}{{spec.V4IPAddress, spec.V4PrefixLength}, {spec.V6IPAddress, spec.V6PrefixLength}} {
		if a.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(a.text)
		if err != nil {
			return nil, err
		}
		bits := int(a.bits)
		if bits == 0 {
			bits = addr.BitLen()
		}
		p := netip.PrefixFrom(addr, bits)
		if !p.IsValid() {
			return nil, fmt.Errorf("address %s: prefix length %d is not possible", addr, bits)
		}
		all = append(all, p)
	}
	return all, nil
}

// gateways returns the claim's gateways, at most one of each family.
func gateways(spec v1.IPSpec) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range []string{spec.V4Gateway, spec.V6Gateway} {
		if text == "" {
			continue
		}
		g, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// parseRoutes returns the claim's routes, with their destinations masked.
func parseRoutes(routes []v1.Route) ([]plug.Route, error) {
	var all []plug.Route
	for _, r := range routes {
		to, err := netip.ParsePrefix(r.Destination)
		if err != nil {
			return nil, err
		}
		via, err := netip.ParseAddr(r.Gateway)
		if err != nil {
			return nil, err
		}
		all = append(all, plug.Route{To: to.Masked(), Via: via})
	}
	return all, nil
}

// Result returns the answer to the runtime's ADD for p: the interfaces, addresses and
// routes. netns is the path of the pod's namespace.
func Result(p plug.Port, netns string) *cniwire.Result {
	r := &cniwire.Result{Interfaces: []cniwire.Interface{
		{Name: p.Link, MAC: string(p.MAC), MTU: p.MTU, NetNS: netns},
		{Name: plug.HostName(p.Container, p.Link), MTU: p.MTU},
	}}
	if p.Tag != 0 {
		r.Interfaces[1] = cniwire.Interface{Name: plug.HostLinkName(p.Container, p.Link)}
	}
	for _, a := range p.Addrs {
		r.Addresses = append(r.Addresses, cniwire.Address{Prefix: a.String(), Gateway: gatewayFor(p, a.Addr())})
	}
	for _, g := range p.Gateways {
		r.Routes = append(r.Routes, cniwire.Route{To: defaultRoute(g), Via: g.String()})
	}
	for _, route := range p.Routes {
		r.Routes = append(r.Routes, cniwire.Route{To: route.To.String(), Via: route.Via.String()})
	}
	return r
}

// gatewayFor returns p's gateway of a's address family; empty if there is none.
func gatewayFor(p plug.Port, a netip.Addr) string {
	for _, g := range p.Gateways {
		if g.Is4() == a.Is4() {
			return g.String()
		}
	}
	return ""
}

// defaultRoute returns the default route's destination in g's address family.
func defaultRoute(g netip.Addr) string {
	if g.Is4() {
		return "0.0.0.0/0"
	}
	return "::/0"
}
