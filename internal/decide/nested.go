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
// VLANs on its trunk port.
func Nested(n *corev1.Node) bool {
	return n != nil && v1.Nested(n.Labels, n.Annotations)
}

// PlugKnown tells whether anybody has said how the node's pods are plugged: the
// user, or the agent there. One that tells of an underlay has found a switch.
func PlugKnown(n *corev1.Node) bool {
	return v1.PlugAsked(n.Labels) != "" || n.Annotations[v1.Plug] != "" || n.Annotations[v1.AnnotationUnderlayMTU] != ""
}

// ParentPort is the port in OpenStack that a node has as a virtual machine.
type ParentPort struct {
	// Port is its id.
	Port string
	MAC  intent.MAC
}

// ParentCandidate is a port of somebody else's that may be a node's.
type ParentCandidate struct {
	ID     string
	MAC    intent.MAC
	Server string
	Addrs  []netip.Addr
}

// ParentPortSelector are what a node's port is found by.
type ParentPortSelector struct {
	// Port is its id, if the user says it, Server the id of the virtual machine.
	Port, Server string
	// MAC is what the claim of a pod there says already.
	MAC   intent.MAC
	Addrs []netip.Addr
	// NICs are the MACs of the node's interfaces, which prove its address.
	NICs []intent.MAC
}

// ParentPortSelectorOf are a node's, and those of the claim of a pod on it; both may be nil.
func ParentPortSelectorOf(n *corev1.Node, claim *v1.IP) ParentPortSelector {
	var c ParentPortSelector
	if claim != nil && claim.Spec.Attach.VLAN != nil {
		c.MAC = intent.MAC(claim.Spec.Attach.VLAN.Parent)
	}
	if n == nil {
		return c
	}
	c.Port = cmp.Or(n.Labels[v1.ParentPort], n.Annotations[v1.ParentPort])
	c.Server = serverOf(n.Spec.ProviderID)
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

// serverOf reads "openstack:///<server>" and "openstack://<region>/<server>".
func serverOf(providerID string) string {
	rest, ok := strings.CutPrefix(providerID, "openstack://")
	if !ok {
		return ""
	}
	return rest[strings.LastIndexByte(rest, '/')+1:]
}

// Words are all that a port may be looked up by.
func (c ParentPortSelector) Words() []string {
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

// Parent finds the node's port among those that a clue leads to: the one that
// the user names, or where that leads nowhere the one that the pod is behind; the one that a pod of the node is behind already, one of the
// virtual machine that the provider id names, one that has the node's address
// and the MAC of an interface there: anybody's port may have the address alone.
// Two that fit equally well are none: projects may use the same addresses. Pods
// that were behind a port which is no more do not follow the address to another.
func (c ParentPortSelector) Parent(ports []ParentCandidate) *ParentPort {
	behind := func(p ParentCandidate) bool { return c.MAC != "" && p.MAC == c.MAC }
	if c.Port != "" {
		return cmp.Or(only(ports, func(p ParentCandidate) bool { return p.ID == c.Port }), only(ports, behind))
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
		if found := only(ports, fits); found != nil {
			return found
		}
	}
	return nil
}

func only(ports []ParentCandidate, fits func(ParentCandidate) bool) *ParentPort {
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

// NoParentPort is the reason of pods and Nodes whose node's port is not found.
const NoParentPort = "NoParentPort"

// NoParent is told of a Node whose port is not found, and of its pods.
func NoParent(node string) error {
	return intent.Wait{Reason: NoParentPort, For: fmt.Sprintf("the port in OpenStack that Node %s has as a virtual machine: "+
		"the one that annotation %s of the Node names, else the only one that has the Node's InternalIP and a MAC address of its annotation %s", node, v1.ParentPort, v1.AnnotationMACs)}
}

// onSwitch is true for a node that has its own port while it seems to be a virtual
// machine that has none in OpenStack.
func (f NodeFacts) onSwitch() bool {
	return f.Nested && f.Parent == nil && f.Claim != nil && IPUnit(f.Claim) == NodeUnit(f.Name) && f.Claim.Spec.PodUID == string(f.Node.UID)
}
