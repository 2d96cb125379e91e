package controller

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn"
)

// fillBook learns from Kubernetes and OVN who has which address. Where they
// differ OVN is right: there the port is, and the claim is written after it.
func (c *cluster) fillBook(ctx context.Context, f *ovn.Fabric) error {
	subnets, err := kube.Subnets(ctx, c.client)
	if err != nil {
		return err
	}
	for _, s := range subnets {
		if net, err := decide.LeasesOf(&s.Spec); err == nil {
			if err := c.book.Define(s.Name, net.Prefixes, net.Excluded); err != nil {
				return err
			}
		}
	}
	ports, err := f.Ports(ctx)
	if err != nil {
		return err
	}
	var ips v1.IPList
	if err := c.client.List(ctx, &ips); err != nil {
		return err
	}
	for u, of := range ports {
		for _, p := range of {
			c.learn(p.Network, u, p.Addrs)
		}
	}
	claimed := map[intent.Unit]bool{}
	for _, ip := range inOrder(ips.Items) {
		u := decide.IPUnit(ip)
		if claimed[u] = true; len(ports[u]) == 0 {
			c.learn(ip.Spec.Subnet, u, decide.Addrs(ip))
		}
		c.book.Continue(ip.Spec.Subnet, decide.Addrs(ip))
	}
	// What was given last of all has no claim yet.
	for u, of := range ports {
		for _, p := range of {
			if !claimed[u] {
				c.book.Continue(p.Network, p.Addrs)
			}
		}
	}
	return nil
}

// inOrder sorts claims as they were made, for the next goes on after the last.
// Time is in seconds only; within one, addresses were given upwards.
func inOrder(ips []v1.IP) []*v1.IP {
	return slices.SortedFunc(slices.Values(kube.Pointers(ips)), func(a, b *v1.IP) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), slices.CompareFunc(decide.Addrs(a), decide.Addrs(b), netip.Addr.Compare))
	})
}

// learn lets the first of two win; the other's unit sees that it has not got
// what its claim says, and asks again.
func (c *cluster) learn(subnet string, u intent.Unit, addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	if err := c.book.Hold(subnet, string(u), addrs); err != nil {
		c.log.Warn("an address was claimed twice", "unit", u, "ip", addrs, "err", err)
	}
}
