package plug

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Step is one change to the node or the pod. It also describes its undo. All types of
// steps are in this file.
type Step interface {
	String() string
	step()
}

// Veth makes a pair with end Link in the pod and end Host on the node, and sets both
// ends up. The node's end gets no IPv6 address. The kernel chooses MAC and MTU if they
// are zero.
type Veth struct {
	Host, Link string
	MAC        intent.MAC
	MTU        int
	Alias      string
}

// VLANLink makes a link for VLAN Tag inside the pod, on the node's interface Trunk. Host
// is the node's end of the host link. With it, the undo finds the pod when only the
// sandbox is known. The VLAN belongs to the pod whose claim has it: an earlier sandbox
// of ours loses it.
type VLANLink struct {
	Host, Trunk string
	Tag         int
	Link        string
	MAC         intent.MAC
	MTU         int
	Alias       string
}

// ChecksumOff makes both ends of a veth send packets with complete checksums.
type ChecksumOff struct{ Host, Link string }

// Address adds an address to a pod's link. It is removed with the link.
type Address struct {
	Link   string
	Prefix netip.Prefix
}

// PodRoute adds a route in the pod. Without Via, To is directly on the link.
type PodRoute struct {
	Link   string
	To     netip.Prefix
	Via    netip.Addr
	OnLink bool
}

// NodeAddress adds an address to a link of the node, without a route.
type NodeAddress struct {
	Host   string
	Prefix netip.Prefix
}

// SwitchPort plugs link Name into Bridge and marks it with IDs. It removes our other
// ports with the same iface-id, which belong to an earlier sandbox of the pod.
type SwitchPort struct {
	Bridge, Name string
	IDs          map[string]string
}

// Installed waits until OVN has installed the port on this node. Without it, a pod
// would start before its network works.
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
	return fmt.Sprintf("complete checksums on %s and %s", s.Link, s.Host)
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
