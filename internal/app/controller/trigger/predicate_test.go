package trigger

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
)

// The kubelet updates its Node all the time. That alone must not run a unit.
func TestPlugChangesWithAddress(t *testing.T) {
	before := &corev1.Node{}
	before.Annotations = map[string]string{v1.Plug: "vlan"}
	before.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.15"}}
	after := before.DeepCopy()
	if PlugChanged(before, after) {
		t.Error("a change was seen where there is none")
	}
	after.Status.Addresses[0].Address = "10.0.0.16"
	if !PlugChanged(before, after) {
		t.Error("a change of the address was not seen")
	}
}

// A node gets no port until its agent has reported the plug.
func TestNodeChangesWhenPlugIsKnown(t *testing.T) {
	before := &corev1.Node{}
	after := before.DeepCopy()
	if NodeChanged(before, after) {
		t.Error("a change was seen where there is none")
	}
	after.Annotations = map[string]string{v1.Plug: "ovs"}
	if !NodeChanged(before, after) {
		t.Error("the plug became known and no change was seen")
	}
}
