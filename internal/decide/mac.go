package decide

import (
	"fmt"
	"net/netip"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// MAC returns the MAC address derived from an IP address. It is always the same
// one, unicast and locally administered. Two addresses of a network have
// different MACs if their last 32 bits differ.
func MAC(a netip.Addr) intent.MAC {
	b, family := a.As16(), 0x00
	if !a.Is4() {
		family = 0x60
	}
	return intent.MAC(fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", family, b[12], b[13], b[14], b[15]))
}
