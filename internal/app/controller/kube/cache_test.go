package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-cni/isthmus/internal/decide/policy"
)

func podWithPorts(ports ...corev1.ContainerPort) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: ports}}}}
}

// The cache keeps a pod's named ports, and those fields of them that policies
// use.
func TestTheCacheKeepsNamedPorts(t *testing.T) {
	t.Parallel()
	always := corev1.ContainerRestartPolicyAlways
	p := podWithPorts(corev1.ContainerPort{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP}, corev1.ContainerPort{ContainerPort: 9})
	p.Spec.InitContainers = []corev1.Container{{RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "side", ContainerPort: 1}}}}
	kept, err := keepOfPod(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := policy.NamedPortsOf(kept.(*corev1.Pod)), policy.NamedPortsOf(p); len(want) != 2 || !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if kept, err := keepOfPod(podWithPorts(corev1.ContainerPort{ContainerPort: 9})); err != nil || kept.(*corev1.Pod).Spec.Containers != nil {
		t.Errorf("%v: a pod without named ports keeps containers", err)
	}
}
