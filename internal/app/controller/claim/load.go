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

// Load reads from Kubernetes' claims and OVN's ports which unit has which
// address. If they differ, OVN is right, because a claim is written after its
// port.
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
	for _, ip := range sortedByAge(ips) {
		u := decide.IPUnit(ip)
		if claimed[u] = true; len(ports[u]) == 0 {
			c.load(ip.Spec.Subnet, u, decide.Addrs(ip))
		}
		c.Continue(ip.Spec.Subnet, decide.Addrs(ip))
	}
	c.continueAfter(ports, claimed)
	return nil
}

// continueAfter continues allocation after the ports without a claim, because
// their addresses were allocated last.
func (c *Claims) continueAfter(ports map[intent.Unit][]intent.Port, claimed map[intent.Unit]bool) {
	for u, of := range ports {
		for _, p := range of {
			if !claimed[u] {
				c.Continue(p.Network, p.Addrs)
			}
		}
	}
}

// sortedByAge sorts claims by age, because allocation continues after the newest
// one. Timestamps are in whole seconds. Within a second it sorts by address,
// because addresses are allocated in ascending order.
func sortedByAge(ips []*v1.IP) []*v1.IP {
	return slices.SortedFunc(slices.Values(ips), func(a, b *v1.IP) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), slices.CompareFunc(decide.Addrs(a), decide.Addrs(b), netip.Addr.Compare))
	})
}

// load records that a unit has addresses. If two units claim the same address,
// the first one keeps it. The other one sees that it does not hold the address in
// its claim, and allocates again.
func (c *Claims) load(subnet string, u intent.Unit, addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	if err := c.Hold(subnet, string(u), addrs); err != nil {
		c.log.Warn("an address was claimed twice", "unit", u, "ip", addrs, "err", err)
	}
}
