package ovn

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Outside is what is outside the cloud: the gateway of the provider network and a host.
// The gateway is a node whose bridge External has the gateway's address and which
// forwards. The host is on the underlay and is not a node.
type Outside struct {
	Gateway Chassis
	Host    host.Node
	// Network is the provider network. The bridge has its first address.
	Network netip.Prefix
	// Reached is the network that the control plane reaches through the gateway
	// node: the cluster IPs, which webhooks have, or the nodes' floating IPs.
	Reached netip.Prefix
}

// External returns the name of the component that keeps the bridge's address.
func (o Outside) External() string { return o.Gateway.name("external") }

// Components returns the components of the bridge's address, the forwarding and the
// host outside.
func (o Outside) Components() []supervise.Component {
	gateway := netip.PrefixFrom(o.Network.Masked().Addr().Next(), o.Network.Bits())
	n := o.Gateway.Node
	return []supervise.Component{
		{
			Name:  o.External(),
			Needs: []string{Address(n)},
			Argv:  n.Enter(o.Gateway.Self, "keep-address", "--link", External, "--address", gateway.String()),
			Ready: succeeds(n.Enter("busybox", "ping", "-c", "1", "-W", "1", gateway.Addr().String())...),
		},
		{Name: o.Gateway.name("masquerade"), Needs: []string{Host(n)}, Do: o.masquerade},
		{Name: Host(o.Host), Needs: []string{Network}, Do: o.join},
		{Name: o.Gateway.name("services"), Needs: []string{Host(n)}, Do: o.route},
	}
}

// masquerade makes packets from the provider network leave with the node's address,
// because no other host has a route back to that network. Forwarding needs no rule: the
// node has no filter.
func (o Outside) masquerade(ctx context.Context) error {
	n := o.Gateway.Node
	const chain = "ip isthmus-lab postrouting"
	rules := strings.Join([]string{
		"add table ip isthmus-lab",
		"add chain " + chain + " { type nat hook postrouting priority srcnat; }",
		"flush chain " + chain,
		fmt.Sprintf("add rule %s ip saddr %s oifname != %q masquerade", chain, o.Network.Masked(), External),
		fmt.Sprintf("add rule %s ip saddr %s ip daddr %s masquerade", chain, n.Site.Gateway().Addr(), o.Reached),
	}, "\n")
	_, err := host.Run(ctx, n.Enter("nft", rules)...)
	return err
}

// route adds the route to Reached to the machine, where the control plane runs. With two
// labs side by side, the later one has the route.
func (o Outside) route(ctx context.Context) error {
	n := o.Gateway.Node
	_, err := host.Run(ctx, "ip", "route", "replace", o.Reached.String(), "via", n.Addr.Addr().String(), "dev", n.Site.Bridge())
	return err
}

// join creates the host outside. Its only route into the cloud is the gateway node.
func (o Outside) join(ctx context.Context) error {
	if err := o.Host.Ensure(ctx); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"ip", "addr", "replace", o.Host.Addr.String(), "dev", host.Nic},
		{"ip", "route", "replace", o.Network.Masked().String(), "via", o.Gateway.Node.Addr.Addr().String()},
		{"ip", "route", "replace", "default", "via", o.Host.Site.Gateway().Addr().String()},
	} {
		if _, err := host.Run(ctx, o.Host.Enter(argv...)...); err != nil {
			return err
		}
	}
	return nil
}
