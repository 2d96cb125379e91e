package neutron

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// PoolPort is a port of a pool, for people.
type PoolPort struct {
	ID    string
	Addrs []netip.Addr
	// State is PortReady or PortReturning.
	State string
}

// States of a pool's port: it can be handed out, or must be cleaned first.
const (
	PortReady     = "ready"
	PortReturning = "returning"
)

// PoolPorts are the ports of a pool, those first that are handed out first.
func (f *Fabric) PoolPorts(k PoolKey) []PoolPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stock.ports(k)
}

// Fill makes n ports for a pool, beyond what it keeps by itself, up to the most
// that it may have. It returns how many were made, and when they are. There
// need be no such pool yet. Its errors are as those of Apply.
func (f *Fabric) Fill(ctx context.Context, k PoolKey, n int) (int, error) {
	a, err := f.api(ctx)
	if err != nil {
		return 0, err
	}
	if err := f.mayFill(k); err != nil {
		return 0, err
	}
	defer f.wakeChores() // of what fails, that looks again
	for made := 0; ; {
		c, err := f.nextChore(openstack.Background(ctx), a, func() chore { return f.stock.more(k, n-made) })
		if err != nil || c.verb == "" {
			return made, err
		}
		made += c.n
	}
}

func (f *Fabric) mayFill(k PoolKey) error {
	if f.Pool == nil {
		return intent.Stop{Reason: "NoPools", Why: "no ports are made before they are asked for: set the least number of ports of a pool to more than 0"}
	}
	if _, fits := keyOf(k.like(), true); !fits {
		return intent.Stop{Reason: "InvalidSpec", Why: fmt.Sprintf("%+v is no pool: name its node, network, subnets and security groups", k)}
	}
	return nil
}

// Free deletes the ports of the pools that are meant, which end with that: they
// come back when a pod asks for such ports. It returns how many there were, and
// when those that are not being changed just then are gone. What it cannot
// delete is deleted later.
func (f *Fabric) Free(ctx context.Context, meant func(PoolKey) bool) (int, error) {
	a, err := f.api(ctx)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	freed := f.stock.drain(meant)
	f.mu.Unlock()
	defer f.wakeChores()
	for {
		c, err := f.nextChore(openstack.Background(ctx), a, func() chore { return f.stock.discard() })
		if err != nil || c.verb == "" {
			return freed, err
		}
	}
}

func (s *stock) ports(k PoolKey) []PoolPort {
	h := s.shelves[k]
	if h == nil {
		return nil
	}
	var out []PoolPort
	for _, o := range h.ready {
		out = append(out, PoolPort{o.id, addrs(o), PortReady})
	}
	for _, o := range h.returning {
		out = append(out, PoolPort{o.id, addrs(o), PortReturning})
	}
	return out
}

func addrs(o object) []netip.Addr {
	var out []netip.Addr
	ips, _ := o.fields["fixed_ips"].(fixedIPs)
	for _, ip := range ips {
		if a, err := netip.ParseAddr(ip.Addr); err == nil {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// more is the making of up to n ports of a pool though nobody needs them.
func (s *stock) more(k PoolKey, n int) chore {
	like := k.like()
	if _, fits := keyOf(like, true); s.limits == nil || !fits {
		return chore{}
	}
	h := s.shelf(k)
	n = min(n, bulk)
	if s.limits.Max > 0 {
		n = min(n, max(s.limits.Max, s.limits.Min)-h.size())
	}
	if n <= 0 {
		return chore{}
	}
	if h.pattern != nil {
		like = h.pattern
	}
	c := chore{verb: create, key: k, n: n, like: like}
	s.begin(c)
	return c
}
