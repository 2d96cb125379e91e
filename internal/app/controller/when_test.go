package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
)

// A kubelet writes its Node again and again, and where it is does not change by that.
func TestAVirtualMachinesPlugChangesWithItsAddress(t *testing.T) {
	before := &corev1.Node{}
	before.Annotations = map[string]string{v1.Plug: "vlan"}
	before.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.15"}}
	after := before.DeepCopy()
	if plugChanged(before, after) {
		t.Error("nothing changed")
	}
	after.Status.Addresses[0].Address = "10.0.0.16"
	if !plugChanged(before, after) {
		t.Error("its address changed")
	}
}

// Until an agent has told, there is nothing for a node.
func TestANodeChangesWhenItsPlugBecomesKnown(t *testing.T) {
	before := &corev1.Node{}
	after := before.DeepCopy()
	if nodeChanged(before, after) {
		t.Error("nothing changed")
	}
	after.Annotations = map[string]string{v1.Plug: "ovs"}
	if !nodeChanged(before, after) {
		t.Error("its agent told that it has a switch")
	}
}
