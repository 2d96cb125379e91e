package host

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"path/filepath"
)

// Site is the part of the machine that belongs to one lab. Labs side by side differ in
// both fields. Names on the machine depend on Dir alone, so that the leftovers of a lab
// can be found without its options. Addresses depend on Underlay.
type Site struct {
	Dir      string       // all state
	Underlay netip.Prefix // the network that joins the nodes
}

// The default site, whose names and addresses are in the documents.
const (
	DefaultDir      = "/run/isthmus-lab"
	DefaultUnderlay = "172.31.0.0/24"
)

// siteOf returns the site of a directory with the default underlay. It suffices to
// remove a lab.
func siteOf(dir string) Site { return Site{dir, netip.MustParsePrefix(DefaultUnderlay)} }

// tag is the part of names on the machine that differs between labs. It is empty for the
// default directory, and short because interface names are limited to 15 characters.
func (s Site) tag() string {
	dir := filepath.Clean(s.Dir)
	if dir == DefaultDir {
		return ""
	}
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:])[:5]
}

// Bridge returns the name of the underlay's bridge in the root namespace.
func (s Site) Bridge() string {
	if s.tag() == "" {
		return "isthmus0"
	}
	return "isthmus-" + s.tag()
}

// linkPrefix is the prefix of the names of veth ends at the bridge.
func (s Site) linkPrefix() string { return "is" + s.tag() + "-" }

// cgroup is the name of the lab's cgroup in every hierarchy.
func (s Site) cgroup() string {
	if s.tag() == "" {
		return "isthmus-lab"
	}
	return "isthmus-lab-" + s.tag()
}

// Gateway returns the bridge's address, which is the nodes' default gateway: the first
// address of the underlay.
func (s Site) Gateway() netip.Prefix { return s.address(1) }

func (s Site) address(host byte) netip.Prefix {
	a := s.Underlay.Masked().Addr().As4()
	a[3] += host
	return netip.PrefixFrom(netip.AddrFrom4(a), s.Underlay.Bits())
}

// Loopback returns the address on which components listen that only the machine itself
// may reach. For the default underlay it is 127.0.0.1. For others it has the second and
// third byte of the underlay.
func (s Site) Loopback() netip.Addr {
	a := s.Underlay.Masked().Addr().As4()
	if s.Underlay.Masked() == netip.MustParsePrefix(DefaultUnderlay) {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{127, a[1], a[2], 1})
}
