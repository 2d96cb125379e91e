package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A node does not exist only if the API server says so.
func TestNodeExists(t *testing.T) {
	t.Parallel()
	c := newPolicyCluster(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}})
	if !nodeExists(t.Context(), c.client, "node1") || nodeExists(t.Context(), c.client, "node2") {
		t.Error("only node1 exists")
	}
}
