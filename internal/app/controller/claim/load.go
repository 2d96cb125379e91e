package claim

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Load learns from Kubernetes' claims and OVN's ports who has which address. Where
// they differ it goes by OVN: the claim is written after the port.
func (c *Claims) Load(ctx context.Context, ports map[intent.Unit][]intent.Port) error {
	subnets, err := kube.Subnets(ctx, c.client)
	if err != nil {
		return err
	}
	for _, s := range subnets {
		if net, err := decide.LeasesOf(&s.Spec); err == nil {
			if err := c.Define(s.Name, net.Prefixes, net.Excluded); err != nil {
				return err
			}
		}
	}
	ips, err := kube.IPs(ctx, c.client)
	if err != nil {
		return err
	}
	for u, of := range ports {
		for _, p := range of {
			c.load(p.Network, u, p.Addrs)
		}
	}
	claimed := map[intent.Unit]bool{}
	for _, ip := range inOrder(ips) {
		u := decide.IPUnit(ip)
		if claimed[u] = true; len(ports[u]) == 0 {
			c.load(ip.Spec.Subnet, u, decide.Addrs(ip))
		}
		c.Continue(ip.Spec.Subnet, decide.Addrs(ip))
	}
	c.continueAfter(ports, claimed)
	return nil
}

// continueAfter goes on after the ports without a claim: their addresses were
// allocated last of all.
func (c *Claims) continueAfter(ports map[intent.Unit][]intent.Port, claimed map[intent.Unit]bool) {
	for u, of := range ports {
		for _, p := range of {
			if !claimed[u] {
				c.Continue(p.Network, p.Addrs)
			}
		}
	}
}

// inOrder sorts claims by age, since allocation goes on after the newest one.
// Timestamps are in whole seconds; within a second it goes by address, since
// addresses are allocated upwards.
func inOrder(ips []*v1.IP) []*v1.IP {
	return slices.SortedFunc(slices.Values(ips), func(a, b *v1.IP) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), slices.CompareFunc(decide.Addrs(a), decide.Addrs(b), netip.Addr.Compare))
	})
}

// load notes that a unit has addresses. If two units claim the same address, the
// first one keeps it; the other one sees that it has not what its claim says, and
// allocates again.
func (c *Claims) load(subnet string, u intent.Unit, addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	if err := c.Hold(subnet, string(u), addrs); err != nil {
		c.log.Warn("an address was claimed twice", "unit", u, "ip", addrs, "err", err)
	}
}
