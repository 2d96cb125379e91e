package ovn

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Outside is the world beyond the provider network: a node's External bridge
// has the gateway's address and sends on what comes and goes, and behind the
// underlay there is a host that is no node.
type Outside struct {
	Gateway Chassis
	Host    host.Node
	// Network has the bridge's address as its first.
	Network netip.Prefix
	// Reached is what the control plane reaches by way of the gateway node: cluster
	// IPs, where webhooks are, or the floating IPs of nodes.
	Reached netip.Prefix
}

// External is the name of the component that keeps the bridge's address.
func (o Outside) External() string { return o.Gateway.name("external") }

// Components are the bridge's address, the forwarding and the host outside.
func (o Outside) Components() []supervise.Component {
	gateway := netip.PrefixFrom(o.Network.Masked().Addr().Next(), o.Network.Bits())
	n := o.Gateway.Node
	return []supervise.Component{
		{
			Name:  o.External(),
			Needs: []string{Address(n)},
			Argv:  n.Enter(o.Gateway.Self, "keep-address", "--link", External, "--address", gateway.String()),
			Ready: answers(n.Enter("busybox", "ping", "-c", "1", "-W", "1", gateway.Addr().String())...),
		},
		{Name: o.Gateway.name("masquerade"), Needs: []string{Host(n)}, Do: o.masquerade},
		{Name: Host(o.Host), Needs: []string{Network}, Do: o.join},
		{Name: o.Gateway.name("services"), Needs: []string{Host(n)}, Do: o.route},
	}
}

// masquerade lets what comes from the provider network leave under the node's
// address: nobody else knows the way back. Forwarding needs no rule, nothing
// forbids it.
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

// route leads the machine itself, where the control plane runs, to the
// Reached. Of two labs side by side the later one has it.
func (o Outside) route(ctx context.Context) error {
	n := o.Gateway.Node
	_, err := host.Run(ctx, "ip", "route", "replace", o.Reached.String(), "via", n.Addr.Addr().String(), "dev", n.Site.Bridge())
	return err
}

// join makes the host outside. It knows one way in: the gateway node's.
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
