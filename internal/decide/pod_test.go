package decide

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The kubelet gives a static pod's CNI plugin the hash of its manifest as UID,
// not the UID that the API server gave to its mirror.
func TestStaticPodIsKnownByItsHash(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "of-the-mirror"}}
	if got := uid(pod); got != "of-the-mirror" {
		t.Errorf("an ordinary pod is known by %q", got)
	}
	pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "of-the-manifest"}
	if got := uid(pod); got != "of-the-manifest" {
		t.Errorf("a static pod is known by %q", got)
	}
}
