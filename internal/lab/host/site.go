package host

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"path/filepath"
)

// Site is the part of the machine that one lab has. Labs side by side differ
// in both fields: names on the machine follow from Dir alone, so that what a
// lab left can be found without its options, and addresses from Underlay.
type Site struct {
	Dir      string       // all state
	Underlay netip.Prefix // the network that joins the nodes
}

// The first lab's part, with the names and addresses that the documents have.
const (
	DefaultDir      = "/run/isthmus-lab"
	DefaultUnderlay = "172.31.0.0/24"
)

// siteOf is the one of a directory, with the default underlay: enough to take
// away what is there.
func siteOf(dir string) Site { return Site{dir, netip.MustParsePrefix(DefaultUnderlay)} }

// tag tells labs apart on the machine; the first one's is empty. Interface
// names have room for little more.
func (s Site) tag() string {
	dir := filepath.Clean(s.Dir)
	if dir == DefaultDir {
		return ""
	}
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:])[:5]
}

// Bridge is the underlay in the root namespace.
func (s Site) Bridge() string {
	if s.tag() == "" {
		return "isthmus0"
	}
	return "isthmus-" + s.tag()
}

// linkPrefix begins the names of the nodes' cables at the bridge.
func (s Site) linkPrefix() string { return "is" + s.tag() + "-" }

// cgroup is the lab's directory under every controller.
func (s Site) cgroup() string {
	if s.tag() == "" {
		return "isthmus-lab"
	}
	return "isthmus-lab-" + s.tag()
}

// Gateway is the bridge's address and the nodes' default gateway: the first
// of the underlay.
func (s Site) Gateway() netip.Prefix { return s.address(1) }

func (s Site) address(host byte) netip.Prefix {
	a := s.Underlay.Masked().Addr().As4()
	a[3] += host
	return netip.PrefixFrom(netip.AddrFrom4(a), s.Underlay.Bits())
}

// Loopback is where the lab's parts listen that only the machine itself may
// reach: 127.0.0.1, or for another underlay one with its second and third byte.
func (s Site) Loopback() netip.Addr {
	a := s.Underlay.Masked().Addr().As4()
	if s.Underlay.Masked() == netip.MustParsePrefix(DefaultUnderlay) {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{127, a[1], a[2], 1})
}
