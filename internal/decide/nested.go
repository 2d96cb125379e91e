package decide

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Nested tells whether the node is a virtual machine whose pods are plugged as
// VLANs on its trunk port. n may be nil.
func Nested(n *corev1.Node) bool {
	return n != nil && v1.Nested(n.Labels, n.Annotations)
}

// PlugKnown tells whether the user or the node's agent has set how the node's
// pods are plugged. An agent that reports an underlay MTU has found Open vSwitch.
func PlugKnown(n *corev1.Node) bool {
	return v1.PlugAsked(n.Labels) != "" || n.Annotations[v1.Plug] != "" || n.Annotations[v1.AnnotationUnderlayMTU] != ""
}

// ParentPort is a nested node's port in OpenStack: the parent port of its trunk.
type ParentPort struct {
	// Port is the port's id.
	Port string
	MAC  intent.MAC
}

// ParentCandidate is an OpenStack port, not created by us, that may be a node's
// parent port.
type ParentCandidate struct {
	ID     string
	MAC    intent.MAC
	Server string
	Addrs  []netip.Addr
}

// ParentPortSelector holds the properties by which a node's parent port is found.
type ParentPortSelector struct {
	// Port is the port's id if the user sets it. Server is the id of the virtual
	// machine.
	Port, Server string
	// MAC is the parent port's MAC address in the claim of a pod on the node.
	MAC   intent.MAC
	Addrs []netip.Addr
	// NICs are the MACs of the node's interfaces. A port must have one of them to
	// be found by its address.
	NICs []intent.MAC
}

// ParentPortSelectorOf returns the selector of a node's parent port. claim is the
// claim of a pod on the node. Both may be nil.
func ParentPortSelectorOf(n *corev1.Node, claim *v1.IP) ParentPortSelector {
	var c ParentPortSelector
	if claim != nil && claim.Spec.Attach.VLAN != nil {
		c.MAC = intent.MAC(claim.Spec.Attach.VLAN.Parent)
	}
	if n == nil {
		return c
	}
	c.Port = cmp.Or(n.Labels[v1.ParentPort], n.Annotations[v1.ParentPort])
	c.Server = serverID(n.Spec.ProviderID)
	for _, mac := range strings.FieldsFunc(n.Annotations[v1.AnnotationMACs], func(r rune) bool { return r == ',' }) {
		c.NICs = append(c.NICs, intent.MAC(strings.ToLower(mac)))
	}
	for _, a := range n.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
			c.Addrs = append(c.Addrs, addr)
		}
	}
	return c
}

// serverID returns the server's id in a provider id of the form
// "openstack:///<server>" or "openstack://<region>/<server>"; empty for any
// other.
func serverID(providerID string) string {
	rest, ok := strings.CutPrefix(providerID, "openstack://")
	if !ok {
		return ""
	}
	return rest[strings.LastIndexByte(rest, '/')+1:]
}

// Keys returns all ids and addresses that a port may be looked up by.
func (c ParentPortSelector) Keys() []string {
	var words []string
	for _, w := range []string{c.Port, c.Server, string(c.MAC)} {
		if w != "" {
			words = append(words, w)
		}
	}
	for _, a := range c.Addrs {
		words = append(words, a.String())
	}
	return words
}

// Parent returns the node's parent port among ports; nil if none matches.
//
// If the user names a port, it is that one. If that port does not exist, it is
// the one that the claim names. Otherwise the first of these rules that matches
// exactly one port decides:
//
//  1. the port that the claim names,
//  2. the port of the virtual machine in the provider id that has the node's address,
//  3. the port of that virtual machine,
//  4. the port that has the node's address and the MAC of one of its interfaces.
//
// Rule 4 asks for the MAC because any port may have the address. A rule that
// matches two ports finds none, because projects may use the same addresses. Rule
// 4 is not used if the claim names a port: a pod whose parent port was deleted
// does not move to another port with the same address.
func (c ParentPortSelector) Parent(ports []ParentCandidate) *ParentPort {
	behind := func(p ParentCandidate) bool { return c.MAC != "" && p.MAC == c.MAC }
	if c.Port != "" {
		return cmp.Or(onlyMatch(ports, func(p ParentCandidate) bool { return p.ID == c.Port }), onlyMatch(ports, behind))
	}
	addressed := func(p ParentCandidate) bool {
		return slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool { return slices.Contains(c.Addrs, a) })
	}
	for _, fits := range []func(ParentCandidate) bool{
		behind,
		func(p ParentCandidate) bool { return c.Server != "" && p.Server == c.Server && addressed(p) },
		func(p ParentCandidate) bool { return c.Server != "" && p.Server == c.Server },
		func(p ParentCandidate) bool { return c.MAC == "" && addressed(p) && slices.Contains(c.NICs, p.MAC) },
	} {
		if found := onlyMatch(ports, fits); found != nil {
			return found
		}
	}
	return nil
}

// onlyMatch returns the port that fits; nil if none does or if several do.
func onlyMatch(ports []ParentCandidate, fits func(ParentCandidate) bool) *ParentPort {
	var found *ParentPort
	for _, p := range ports {
		if !fits(p) {
			continue
		}
		if found != nil {
			return nil
		}
		found = &ParentPort{Port: p.ID, MAC: p.MAC}
	}
	return found
}

// NoParentPort is the reason of a Node whose parent port is not found, and of the
// pods on it.
const NoParentPort = "NoParentPort"

// NoParent returns the problem of a Node whose parent port is not found, and of
// the pods on it.
func NoParent(node string) error {
	return intent.Wait{Reason: NoParentPort, For: fmt.Sprintf("the port in OpenStack that Node %s has as a virtual machine: "+
		"the one that annotation %s of the Node names, else the only one that has the Node's InternalIP and a MAC address of its annotation %s", node, v1.ParentPort, v1.AnnotationMACs)}
}

// keepsSwitch is true for a node that has its own port although it seems to be a
// virtual machine without a port in OpenStack.
func (f NodeFacts) keepsSwitch() bool {
	return f.Nested && f.Parent == nil && f.Claim != nil && IPUnit(f.Claim) == NodeUnit(f.Name) && f.Claim.Spec.PodUID == string(f.Node.UID)
}
