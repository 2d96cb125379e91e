//go:build bench

package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// endpoint is one of two pods, each in a guest of its own.
type endpoint struct {
	guest, address string
	underlay       string // the guest's own address
	process        string
}

type pair [2]endpoint

// payload is the size in MB of the file that the first pod gets from the second.
const payload = 32

// createEndpoints creates the two pods, which serve a file.
func (b *testbed) createEndpoints(t *testing.T) pair {
	t.Helper()
	for _, g := range guests {
		b.createEndpoint(t, g)
	}
	var p pair
	for i, g := range guests {
		p[i] = b.endpoint(t, g)
	}
	return p
}

func podName(guest string) string { return "end-" + guest }

func (b *testbed) createEndpoint(t *testing.T, guest string) {
	t.Helper()
	none := int64(0)
	serve := fmt.Sprintf("dd if=/dev/zero of=/www/file bs=1000000 count=%d && exec httpd -f -h /www", payload)
	_, err := b.kube.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: podName(guest)},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: guest}, TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{{Name: "main", Image: tools, Command: []string{"sh", "-c", serve}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// endpoint waits until a guest's pod is ready and returns its endpoint.
func (b *testbed) endpoint(t *testing.T, guest string) endpoint {
	t.Helper()
	var p *corev1.Pod
	b.until(t, 3*time.Minute, podName(guest)+" is not Ready", func() bool {
		var err error
		p, err = b.kube.CoreV1().Pods(namespace).Get(t.Context(), podName(guest), metav1.GetOptions{})
		return err == nil && isReady(p)
	})
	container := strings.TrimPrefix(p.Status.ContainerStatuses[0].ContainerID, "containerd://")
	return endpoint{guest, p.Status.PodIP, p.Status.HostIP, b.process(t, guest, container)}
}

// process returns the pid of a container in the guest.
func (b *testbed) process(t *testing.T, guest, container string) string {
	t.Helper()
	words := strings.Fields(b.runOn(t, guest, "ctr -n k8s.io tasks list"))
	for i, w := range words[:len(words)-1] {
		if w == container {
			return words[i+1]
		}
	}
	t.Fatalf("%s has no process of container %s", guest, container)
	return ""
}

// overlay connects the pods with a second network, as clusters in guests without trunk ports have
// it: a link from each pod to its guest, which routes to a VXLAN between the guests' own
// addresses. It returns the second pod's address in that network.
func (b *testbed) overlay(t *testing.T, p pair) string {
	t.Helper()
	for i, e := range p {
		t.Cleanup(func() { b.removeOverlay(t, e.guest) })
		b.runOn(t, e.guest, overlayScript(e, p[1-i], i+1, 2-i))
	}
	return "10.200.2.2"
}

// overlayScript returns a script that creates the links of one endpoint and makes the guest
// forward, which Isthmus does not need. mine and theirs are the numbers of the endpoints. The
// script calls iproute2 by its path: the first ip in the guest's PATH is busybox's, which does not
// support VXLAN.
func overlayScript(e, other endpoint, mine, theirs int) string {
	return strings.NewReplacer("IP", "/usr/bin/ip", "POD", "nsenter -t "+e.process+" -n /usr/bin/ip", "PID", e.process,
		"UNDER", e.underlay, "OTHER", other.underlay, "MINE", fmt.Sprint("10.200.", mine), "THEIRS", fmt.Sprint("10.200.", theirs),
	).Replace(`set -e
echo 1 >/proc/sys/net/ipv4/ip_forward
IP link add bench-vxlan type vxlan id 200 dev eth0 local UNDER remote OTHER dstport 4789
IP address add MINE.0/32 dev bench-vxlan
IP link set bench-vxlan up
IP route add THEIRS.0/24 via THEIRS.0 dev bench-vxlan onlink
mtu=$(cat /sys/class/net/bench-vxlan/mtu)
IP link add bench-host mtu $mtu type veth peer name bench-pod mtu $mtu netns PID
IP address add MINE.1/24 dev bench-host
IP link set bench-host up
POD address add MINE.2/24 dev bench-pod
POD link set bench-pod up
POD route add THEIRS.0/24 via MINE.1
`)
}

// removeOverlay deletes a guest's links of the overlay, as far as they exist. It also works when the
// test has ended.
func (b *testbed) removeOverlay(t *testing.T, guest string) {
	t.Helper()
	script := "for link in bench-vxlan bench-host; do [ ! -e /sys/class/net/$link ] || /usr/bin/ip link delete $link || exit; done; echo 0 >/proc/sys/net/ipv4/ip_forward"
	out, err := b.Command(context.WithoutCancel(t.Context()), "isthmus-lab", "exec", guest, "--", "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", guest, err, out)
	}
}
