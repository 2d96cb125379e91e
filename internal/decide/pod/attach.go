package pod

import (
	"fmt"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// AttachFacts are the facts about how pods are attached on the pod's node.
type AttachFacts struct {
	// OnNode is true if the Node that the pod is bound to exists.
	OnNode bool
	// Nested is true if that Node is a virtual machine with a trunk port.
	Nested bool
	// Parent is that port; nil if it is not found.
	Parent *decide.ParentPort
	// SomeNested is true if any Node is such a virtual machine. It matters only
	// for a pod that is not bound.
	SomeNested bool
}

// attachment is how the pod is attached on its node.
type attachment struct {
	// parent is the parent port of the pod's port; nil if the pod is plugged into
	// Open vSwitch.
	parent *decide.ParentPort
	// problem is reported although the pod gets its port; nil if there is none.
	problem error
}

// attach writes into the claim how the pod is attached on its node. It errs with
// an intent.Wait if the node's parent port is not found. It then removes nothing
// from the claim, because that port may come back.
func attach(f Facts, ip *v1.IP) (attachment, error) {
	setNode(ip, f.Pod.Spec.NodeName)
	switch {
	case !nested(f):
		attachToSwitch(f, ip)
		return attachment{problem: plugProblem(f)}, nil
	case f.Parent == nil:
		return attachment{}, decide.NoParent(ip.Spec.NodeName)
	}
	if ip.Spec.Attach.VLAN == nil {
		ip.Spec.Attach = v1.Attach{VLAN: &v1.AttachVLAN{}}
	}
	ip.Spec.Attach.VLAN.Parent, ip.Spec.HostLink = string(f.Parent.MAC), true
	return attachment{parent: f.Parent}, nil
}

// setNode writes the pod's node into the claim; none if node is empty.
func setNode(ip *v1.IP, node string) {
	ip.Spec.NodeName = node
	delete(ip.Labels, v1.LabelNode)
	if node != "" {
		ip.Labels[v1.LabelNode] = node
	}
}

// attachToSwitch turns a VLAN claim on fabric ovn into one for Open vSwitch. For
// a Neutron port decide.Bind sets how it is plugged.
func attachToSwitch(f Facts, ip *v1.IP) {
	if decide.FabricOfIP(ip) != intent.FabricOVN || ip.Spec.Attach.VLAN == nil {
		return
	}
	ip.Spec.Attach = v1.Attach{OVS: &v1.AttachOVS{IfaceID: ip.Name, IfaceIDVer: ip.Spec.PodUID}}
	ip.Spec.HostLink = vpcOf(f, ip.Spec.Subnet) != decide.NodeVpcOf(f.NodeVpc)
}

// plugProblem returns why it is not certain how a pod that is not nested is
// attached; nil if it is certain. If a cluster has nested nodes, a pod gets its
// address and its port before it is bound, but its claim only afterwards.
func plugProblem(f Facts) error {
	switch {
	case f.SomeNested && f.Pod.Spec.NodeName == "":
		return notBound()
	case keepsSwitch(f):
		return decide.NoParent(f.Pod.Spec.NodeName)
	}
	return nil
}

// nested tells whether the pod's node is a virtual machine. If the Node does not
// exist, the pod's claim decides.
func nested(f Facts) bool {
	if f.Nested {
		return !keepsSwitch(f)
	}
	return !f.OnNode && ownsClaim(f) && f.Claim.Spec.Attach.VLAN != nil
}

// keepsSwitch is true for a pod that is plugged into Open vSwitch while its node
// seems to be a virtual machine without a parent port. The node may be no virtual
// machine at all, so the pod keeps its port.
func keepsSwitch(f Facts) bool {
	return f.Nested && f.Parent == nil && ownsClaim(f) && f.Claim.Spec.PodUID == uid(f.Pod) && f.Claim.Spec.Attach.OVS != nil
}

// Retagged returns a text that says that a running pod's VLAN id has changed;
// empty if it has not. Both claims may be nil.
func Retagged(was, is *v1.IP) string {
	if was == nil || is == nil || was.Spec.PodUID != is.Spec.PodUID {
		return ""
	}
	a, b := was.Spec.Attach.VLAN, is.Spec.Attach.VLAN
	if a == nil || b == nil || a.Tag == b.Tag {
		return ""
	}
	return fmt.Sprintf("the pod's VLAN id on its node is %d now, not %d: somebody else took that on the node's port", b.Tag, a.Tag)
}
