package netdev

import (
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// A bond has the MAC of its first interface. Pods' links, and links on top of an
// interface, do not count.
func TestMACsOfTheMachine(t *testing.T) {
	attrs := func(last byte) netlink.LinkAttrs {
		return netlink.LinkAttrs{HardwareAddr: net.HardwareAddr{0xfa, 0x16, 0x3e, 0, 0, last}}
	}
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{HardwareAddr: make(net.HardwareAddr, 6), Flags: net.FlagLoopback}}
	bond := netlink.NewLinkBond(attrs(2))
	got := macsOf([]netlink.Link{
		lo, &netlink.Device{LinkAttrs: attrs(2)}, &netlink.Device{LinkAttrs: attrs(1)}, bond,
		&netlink.Veth{LinkAttrs: attrs(3)}, &netlink.Vlan{LinkAttrs: attrs(4)}, &netlink.Bridge{LinkAttrs: attrs(5)},
		&netlink.Device{}, // a tunnel has none
	})
	if want := []string{"fa:16:3e:00:00:01", "fa:16:3e:00:00:02"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
