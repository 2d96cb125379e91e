package ipam

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"go4.org/netipx"
)

// ErrFull means that a network has no free address left.
var ErrFull = errors.New("no address left")

// ErrUnknown means that a network is not defined.
var ErrUnknown = errors.New("network is not known")

// Taken means that another owner has the address.
type Taken struct {
	Addr  netip.Addr
	Owner string
}

func (t Taken) Error() string { return fmt.Sprintf("%v is in use by %s", t.Addr, t.Owner) }

// Allocator allocates the addresses of several networks, each with a name. It is
// safe for concurrent use. Its zero value is empty and ready. An owner is any
// text. It has at most one address of each family in a network, and normally in
// one network only.
type Allocator struct {
	mu     sync.Mutex
	nets   map[string]*network
	owners map[string][]Lease
}

// Lease is the addresses that an owner has in one network.
type Lease struct {
	Network string
	Addrs   []netip.Addr
}

// network has pools if it is defined. It may have holders before that: after a
// start the caller may report them first.
type network struct {
	pools  []*pool
	holder map[netip.Addr]string
}

// Define sets the prefixes of a network, at most one of each family, and the
// addresses that must not be allocated. Owners keep what they have. Defining the
// same again changes nothing, not even which address is next. It errs if the
// ranges are invalid.
func (b *Allocator) Define(name string, prefixes []netip.Prefix, excluded []netipx.IPRange) error {
	pools := make([]*pool, 0, len(prefixes))
	for _, prefix := range prefixes {
		p, err := newPool(prefix.Masked(), excluded)
		if err != nil {
			return fmt.Errorf("define network %s: %w", name, err)
		}
		pools = append(pools, p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.network(name)
	for _, p := range pools {
		p.copyState(n)
	}
	n.pools = pools
	return nil
}

// copyState copies the cursor of the pool that p replaces, and the addresses in
// use.
func (p *pool) copyState(n *network) {
	for _, old := range n.pools {
		if old.prefix == p.prefix {
			p.cursor = old.cursor
			if slices.Equal(old.excluded, p.excluded) {
				p.used, p.count, p.taken = old.used, old.count, old.taken
				return
			}
		}
	}
	for a := range n.holder {
		if p.prefix.Contains(a) {
			p.markUsed(a)
		}
	}
}

// Drop removes a network and all leases in it.
func (b *Allocator) Drop(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.nets[name]; n != nil {
		for _, owner := range n.holder {
			b.removeLease(owner, name)
		}
		delete(b.nets, name)
	}
}

// Next allocates one address of each family, in round-robin order. It returns the
// same addresses to an owner that already has some. It errs with ErrUnknown or
// ErrFull.
func (b *Allocator) Next(name, owner string) ([]netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if held := b.addrsOf(owner, name); len(held) > 0 {
		return slices.Clone(held), nil
	}
	n := b.nets[name]
	if n == nil || len(n.pools) == 0 {
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	addrs := make([]netip.Addr, 0, len(n.pools))
	for _, p := range n.pools {
		a, ok := p.next()
		if !ok {
			return nil, fmt.Errorf("%s %v: %w", name, p.prefix, ErrFull)
		}
		addrs = append(addrs, a)
	}
	for i, p := range n.pools {
		p.cursor = p.offset(addrs[i]) + 1
	}
	b.assign(name, owner, addrs)
	return slices.Clone(addrs), nil
}

// Claim allocates these addresses, which must be in the network, and releases the
// owner's other addresses there. It errs with ErrUnknown, with Taken if another
// owner has one, and if one is excluded or is not in the network.
func (b *Allocator) Claim(name, owner string, addrs []netip.Addr) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.nets[name]
	if n == nil || len(n.pools) == 0 {
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	for _, a := range addrs {
		if err := n.checkFree(owner, a); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	b.release(owner, func(l Lease) bool { return l.Network == name })
	b.assign(name, owner, slices.Clone(addrs))
	return nil
}

// checkFree returns nil if the owner may have the address. It returns Taken if
// another owner has it, and another error if it is excluded or not in the
// network.
func (n *network) checkFree(owner string, a netip.Addr) error {
	if other, ok := n.holder[a]; ok {
		if other != owner {
			return Taken{a, other}
		}
		return nil
	}
	for _, p := range n.pools {
		if !p.prefix.Contains(a) {
			continue
		}
		if _, excluded := p.exclusion(a); excluded {
			return fmt.Errorf("%v is excluded, the gateway, or the network's own", a)
		}
		return nil
	}
	return fmt.Errorf("%v is not an address of this network", a)
}

// Hold records a lease that exists already, after a start. The address may be
// excluded now, and the network may not be defined yet. It errs only with Taken.
func (b *Allocator) Hold(name, owner string, addrs []netip.Addr) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.network(name)
	for _, a := range addrs {
		if other, ok := n.holder[a]; ok && other != owner {
			return fmt.Errorf("%s: %w", name, Taken{a, other})
		}
	}
	b.release(owner, func(l Lease) bool { return l.Network == name })
	b.assign(name, owner, slices.Clone(addrs))
	return nil
}

// Continue makes Next continue after these addresses: after a start, the
// addresses that were allocated last.
func (b *Allocator) Continue(name string, addrs []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.network(name).pools {
		for _, a := range addrs {
			if p.prefix.Contains(a) {
				p.cursor = p.offset(a) + 1
			}
		}
	}
}

// Held returns the owner's leases, in no order.
func (b *Allocator) Held(owner string) []Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.owners[owner])
}

// Free releases all addresses of the owner.
func (b *Allocator) Free(owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(owner, func(Lease) bool { return true })
}

// FreeElsewhere releases the owner's addresses in all other networks.
func (b *Allocator) FreeElsewhere(owner, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(owner, func(l Lease) bool { return l.Network != name })
}

// Owners returns the owners of addresses in the network, sorted.
func (b *Allocator) Owners(name string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.nets[name]
	if n == nil {
		return nil
	}
	owners := make([]string, 0, len(n.holder))
	for _, o := range n.holder {
		owners = append(owners, o)
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// Count is the number of a network's addresses of one family. Available is at
// most 2^53.
type Count struct{ Used, Available int64 }

// Counts returns how many addresses of a network are used and available.
func (b *Allocator) Counts(name string) (v4, v6 Count) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.nets[name]
	if n == nil {
		return Count{}, Count{}
	}
	for _, p := range n.pools {
		c := Count{Used: int64(p.count), Available: p.available()}
		if p.prefix.Addr().Is4() {
			v4 = c
		} else {
			v6 = c
		}
	}
	return v4, v6
}

func (b *Allocator) network(name string) *network {
	if b.nets == nil {
		b.nets, b.owners = map[string]*network{}, map[string][]Lease{}
	}
	if b.nets[name] == nil {
		b.nets[name] = &network{holder: map[netip.Addr]string{}}
	}
	return b.nets[name]
}

func (b *Allocator) addrsOf(owner, name string) []netip.Addr {
	for _, l := range b.owners[owner] {
		if l.Network == name {
			return l.Addrs
		}
	}
	return nil
}

func (b *Allocator) assign(name, owner string, addrs []netip.Addr) {
	n := b.nets[name]
	for _, a := range addrs {
		n.holder[a] = owner
		for _, p := range n.pools {
			if p.prefix.Contains(a) {
				p.markUsed(a)
			}
		}
	}
	b.owners[owner] = append(b.owners[owner], Lease{name, addrs})
}

func (b *Allocator) release(owner string, which func(Lease) bool) {
	if len(b.owners[owner]) == 0 {
		return
	}
	for _, l := range b.owners[owner] {
		if which(l) {
			b.nets[l.Network].release(l.Addrs)
		}
	}
	b.owners[owner] = slices.DeleteFunc(b.owners[owner], which)
	if len(b.owners[owner]) == 0 {
		delete(b.owners, owner)
	}
}

func (n *network) release(addrs []netip.Addr) {
	for _, a := range addrs {
		delete(n.holder, a)
		for _, p := range n.pools {
			if p.prefix.Contains(a) {
				p.markFree(a)
			}
		}
	}
}

func (b *Allocator) removeLease(owner, name string) {
	b.owners[owner] = slices.DeleteFunc(b.owners[owner], func(l Lease) bool { return l.Network == name })
	if len(b.owners[owner]) == 0 {
		delete(b.owners, owner)
	}
}

// Networks returns the names of all networks, sorted.
func (b *Allocator) Networks() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.nets))
}
