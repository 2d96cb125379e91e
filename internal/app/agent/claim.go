package agent

import (
	"fmt"
	"net/netip"
	"strings"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// portOf turns a pod's claim into the port to plug.
func portOf(ip *v1.IP, a cniwire.Attachment) (plug.Port, error) {
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
	if p.Addrs, err = addrsOf(spec); err == nil {
		p.Gateways, err = gatewaysOf(spec)
	}
	if err == nil {
		p.Routes, err = routesOf(spec.Routes)
	}
	if err != nil {
		return plug.Port{}, fmt.Errorf("claim %s makes no sense: %w", ip.Name, err)
	}
	return p, nil
}

// addrsOf are the claim's addresses, with the Subnet's prefix length.
func addrsOf(spec v1.IPSpec) ([]netip.Prefix, error) {
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
			return nil, fmt.Errorf("%s has no prefix of length %d", addr, bits)
		}
		all = append(all, p)
	}
	return all, nil
}

func gatewaysOf(spec v1.IPSpec) ([]netip.Addr, error) {
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

func routesOf(routes []v1.Route) ([]plug.Route, error) {
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

// resultOf is what the runtime is told of p.
func resultOf(p plug.Port, netns string) *cniwire.Result {
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
		r.Routes = append(r.Routes, cniwire.Route{To: everywhere(g), Via: g.String()})
	}
	for _, route := range p.Routes {
		r.Routes = append(r.Routes, cniwire.Route{To: route.To.String(), Via: route.Via.String()})
	}
	return r
}

func gatewayFor(p plug.Port, a netip.Addr) string {
	for _, g := range p.Gateways {
		if g.Is4() == a.Is4() {
			return g.String()
		}
	}
	return ""
}

func everywhere(g netip.Addr) string {
	if g.Is4() {
		return "0.0.0.0/0"
	}
	return "::/0"
}
