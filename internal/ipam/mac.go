package ipam

import (
	"fmt"
	"hash/fnv"
	"net/netip"
)

// MAC is the hardware address that belongs to an address: always the same one,
// unicast, locally administered, and as unique in a segment as the address is.
func MAC(a netip.Addr) string {
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
	}
	h := fnv.New64a()
	b := a.As16()
	_, _ = h.Write(b[:])
	s := h.Sum(nil)
	return fmt.Sprintf("06:%02x:%02x:%02x:%02x:%02x", s[3], s[4], s[5], s[6], s[7])
}
