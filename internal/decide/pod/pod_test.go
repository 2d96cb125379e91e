package pod

import (
	"strings"
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

func TestStaticMAC(t *testing.T) {
	for text, ok := range map[string]bool{
		"0A:00:00:12:34:56": true, "fa:16:3e:00:00:01": true, "01:00:5e:00:00:01": false, "00:00:00:00:00:00": false,
		"02:00:0a:00:00:02": false, "02:60:0a:00:00:02": false, "x": false, "00:00:00:00:00:00:00:01": false,
	} {
		if mac, err := parseMAC(text); (err == nil) != ok || ok && string(mac) != strings.ToLower(text) {
			t.Errorf("%s: %s, %v", text, mac, err)
		}
	}
}
