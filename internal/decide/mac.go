package decide

import (
	"fmt"
	"net/netip"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// MAC is the hardware address that belongs to an address: always the same one,
// unicast, locally administered, and as unique in a segment as the address's
// last 32 bits are.
func MAC(a netip.Addr) intent.MAC {
	b, family := a.As16(), 0x00
	if !a.Is4() {
		family = 0x60
	}
	return intent.MAC(fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", family, b[12], b[13], b[14], b[15]))
}
