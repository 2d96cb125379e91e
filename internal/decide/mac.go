package decide

import (
	"fmt"
	"net"
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

// staticMAC reads a requested MAC. Those that MAC derives are refused, for
// another port may get the address that it belongs to.
func staticMAC(text string) (intent.MAC, error) {
	hw, err := net.ParseMAC(text)
	switch {
	case err != nil || len(hw) != 6:
		return "", fmt.Errorf("%q is not a MAC address such as 0a:00:00:12:34:56", text)
	case hw[0]&1 != 0 || hw.String() == "00:00:00:00:00:00":
		return "", fmt.Errorf("%s is not a unicast MAC address", text)
	case hw[0] == 2 && (hw[1] == 0 || hw[1] == 0x60):
		return "", fmt.Errorf("%s: MAC addresses that begin with 02:00 or 02:60 are derived from addresses", text)
	}
	return intent.MAC(hw.String()), nil
}
