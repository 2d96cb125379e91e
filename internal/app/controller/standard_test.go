package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The pool of the pods that no NetworkPolicy knows of is always filled.
func TestStandardSet(t *testing.T) {
	t.Parallel()
	c := &cloud{groups: map[string]string{"web": "0-id-of-web"}}
	if !c.standardSet("node1", []string{"k8s-pods"}) || c.standardSet("node1", []string{"k8s-pods", "peer/x"}) {
		t.Error("without settings a pod is in k8s-pods alone")
	}
	c.settings.SecurityGroups = []string{"web"}
	if !c.standardSet("node1", []string{"0-id-of-web"}) {
		t.Error("nodes have groups where they are in Neutron only")
	}
	c.settings.Default = true
	if !c.standardSet("node1", []string{"0-id-of-web", "node/node1"}) || c.standardSet("node2", []string{"0-id-of-web", "node/node1"}) {
		t.Error("the groups of the settings stand in their place")
	}
}

// Only what is not to be found is gone.
func TestWhichNodeIsThere(t *testing.T) {
	t.Parallel()
	c := ruled(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}})
	if !c.nodeThere(t.Context(), "node1") || c.nodeThere(t.Context(), "node2") {
		t.Error("node1 is there alone")
	}
}
