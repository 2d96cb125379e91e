// Package ipam allocates addresses. It knows networks, addresses and owners by
// name, and it knows no pods, no Subnet objects and no database. It keeps
// everything in memory: after a start the caller must report the existing leases.
package ipam

import (
	"encoding/binary"
	"net/netip"

	"go4.org/netipx"
)

// pool is one prefix of a network.
type pool struct {
	prefix netip.Prefix
	// excluded is sorted, within prefix, and its ranges do not touch each other.
	excluded []netipx.IPRange
	used     offsetSet
	// cursor is the offset after the address that was allocated last.
	cursor uint64
	// count is how many addresses are used. taken is how many of those are not
	// excluded.
	count, taken uint64
}

// newPool returns an empty pool. Ranges in excluded may be outside of prefix. The
// network address and the IPv4 broadcast address are excluded too.
func newPool(prefix netip.Prefix, excluded []netipx.IPRange) (*pool, error) {
	var b netipx.IPSetBuilder
	for _, r := range excluded {
		b.AddRange(r)
	}
	whole := netipx.RangeOfPrefix(prefix)
	if prefix.Bits() < prefix.Addr().BitLen()-1 {
		b.Add(whole.From())
		if prefix.Addr().Is4() {
			b.Add(whole.To())
		}
	}
	b.Intersect(setOf(prefix))
	set, err := b.IPSet()
	if err != nil {
		return nil, err
	}
	return &pool{prefix: prefix, excluded: set.Ranges()}, nil
}

func setOf(p netip.Prefix) *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(p)
	s, _ := b.IPSet() // A single prefix cannot fail.
	return s
}

// next returns the first address from the cursor on that is neither used nor
// excluded. At the end of the network it continues at the start, once. It returns
// false if there is none.
func (p *pool) next() (netip.Addr, bool) {
	if x, ok := p.firstFree(p.cursor); ok {
		return p.at(x), true
	}
	x, ok := p.firstFree(0)
	return p.at(x), ok
}

// firstFree returns the offset of the first address from x on that is neither
// used nor excluded; false if there is none.
func (p *pool) firstFree(x uint64) (uint64, bool) {
	for x <= p.last() {
		free, ok := p.used.next(x)
		if !ok || free > p.last() {
			return 0, false
		}
		end, excluded := p.exclusion(p.at(free))
		if !excluded {
			return free, true
		}
		if x = p.offset(end) + 1; x == 0 {
			return 0, false
		}
	}
	return 0, false
}

// exclusion returns the last address of the excluded range that contains a; false
// if a is not excluded.
func (p *pool) exclusion(a netip.Addr) (netip.Addr, bool) {
	lo, hi := 0, len(p.excluded)
	for lo < hi {
		if mid := (lo + hi) / 2; p.excluded[mid].To().Less(a) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(p.excluded) || !p.excluded[lo].Contains(a) {
		return netip.Addr{}, false
	}
	return p.excluded[lo].To(), true
}

func (p *pool) markUsed(a netip.Addr) {
	p.used.add(p.offset(a))
	p.count++
	if _, excluded := p.exclusion(a); !excluded {
		p.taken++
	}
}

func (p *pool) markFree(a netip.Addr) {
	p.used.remove(p.offset(a))
	p.count--
	if _, excluded := p.exclusion(a); !excluded {
		p.taken--
	}
}

// available returns how many addresses can still be allocated, at most limit.
func (p *pool) available() int64 {
	gone := p.taken
	for _, r := range p.excluded {
		gone += p.offset(r.To()) - p.offset(r.From()) + 1
	}
	if gone > p.last() {
		return 0
	}
	return int64(min(p.last()-gone, limit-1)) + 1
}

// limit is the largest integer that every JSON parser reads exactly.
const limit = 1 << 53

// last returns the offset of the network's last address. Of a network larger than
// an IPv6 /64 only the first /64 is used.
func (p *pool) last() uint64 {
	if host := p.prefix.Addr().BitLen() - p.prefix.Bits(); host < 64 {
		return 1<<host - 1
	}
	return ^uint64(0)
}

func (p *pool) offset(a netip.Addr) uint64 { return lowBits(a) - lowBits(p.prefix.Addr()) }

func (p *pool) at(x uint64) netip.Addr {
	b := p.prefix.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], lowBits(p.prefix.Addr())+x)
	if p.prefix.Addr().Is4() {
		return netip.AddrFrom16(b).Unmap()
	}
	return netip.AddrFrom16(b)
}

func lowBits(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}
