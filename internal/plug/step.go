package plug

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Step is one change to the node or the pod; its undo is told by the same
// words. The set of steps is closed: each is a type of this file.
type Step interface {
	String() string
	step()
}

// Veth is a pair of which Link is made inside the pod and Host on the node,
// both up; the node's side gets no address of its own, not even IPv6's.
// MAC and MTU are the kernel's choice if zero.
type Veth struct {
	Host, Link string
	MAC        intent.MAC
	MTU        int
	Alias      string
}

// VLANLink is made inside the pod, on the interface Trunk of the node. Host is
// the node's side of the host link, by which the pod is found again when only
// the sandbox is known. The claim decides who has a VLAN: an earlier sandbox of
// ours loses it.
type VLANLink struct {
	Host, Trunk string
	Tag         int
	Link        string
	MAC         intent.MAC
	MTU         int
	Alias       string
}

// ChecksumOff makes both sides send whole checksums.
type ChecksumOff struct{ Host, Link string }

// Address is on a pod's link; it goes with the link.
type Address struct {
	Link   string
	Prefix netip.Prefix
}

// PodRoute is in the pod; without Via it is for neighbours on the link.
type PodRoute struct {
	Link   string
	To     netip.Prefix
	Via    netip.Addr
	OnLink bool
}

// NodeAddress is on a link of the node, without a route.
type NodeAddress struct {
	Host   string
	Prefix netip.Prefix
}

// SwitchPort plugs Name into Bridge and marks it with IDs. Other ports of ours
// that bear the same iface-id, those of an earlier sandbox of the pod, go.
type SwitchPort struct {
	Bridge, Name string
	IDs          map[string]string
}

// Installed waits until OVN has made the port work here. Without it a pod would
// start into a network that does not answer yet.
type Installed struct{ Name string }

func (Veth) step()        {}
func (VLANLink) step()    {}
func (ChecksumOff) step() {}
func (Address) step()     {}
func (PodRoute) step()    {}
func (NodeAddress) step() {}
func (SwitchPort) step()  {}
func (Installed) step()   {}

func (s Veth) String() string {
	text := fmt.Sprintf("veth %s to %s", s.Link, s.Host)
	if s.MAC != "" {
		text += fmt.Sprintf(" mac %s", s.MAC)
	}
	if s.MTU != 0 {
		text += fmt.Sprintf(" mtu %d", s.MTU)
	}
	return text
}

func (s VLANLink) String() string {
	if s.Tag == 0 {
		return "VLAN link " + s.Link
	}
	text := fmt.Sprintf("VLAN %d of %s as %s", s.Tag, s.Trunk, s.Link)
	if s.MAC != "" {
		text += fmt.Sprintf(" mac %s", s.MAC)
	}
	if s.MTU != 0 {
		text += fmt.Sprintf(" mtu %d", s.MTU)
	}
	return text
}

func (s ChecksumOff) String() string {
	return fmt.Sprintf("whole checksums on %s and %s", s.Link, s.Host)
}

func (s Address) String() string { return fmt.Sprintf("address %s on %s", s.Prefix, s.Link) }

func (s PodRoute) String() string {
	text := fmt.Sprintf("route %s on %s", s.To, s.Link)
	if s.Via.IsValid() {
		text += " via " + s.Via.String()
	}
	if s.OnLink {
		text += " onlink"
	}
	return text
}

func (s NodeAddress) String() string { return fmt.Sprintf("node address %s on %s", s.Prefix, s.Host) }

func (s SwitchPort) String() string {
	var ids []string
	for _, k := range slices.Sorted(maps.Keys(s.IDs)) {
		ids = append(ids, k+"="+s.IDs[k])
	}
	return strings.TrimSpace(fmt.Sprintf("port %s of %s %s", s.Name, s.Bridge, strings.Join(ids, " ")))
}

func (s Installed) String() string { return "wait for OVN to install " + s.Name }
