//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// requestTimeout is the time in seconds for which a client waits for an answer.
const requestTimeout = 1

// startRequests makes the client request a URL until stop is called, in five loops that start 0.2 s
// apart. results has a line "yes" or "no" for each request.
func (b *testbed) startRequests(t *testing.T, url string) (results <-chan line, stop func()) {
	t.Helper()
	shell := []string{"kubectl", "-n", namespace, "exec", "client", "--", "sh", "-c"}
	results = b.lines(t, append(shell, fmt.Sprintf(`touch /tmp/ask; for i in 0 1 2 3 4; do (sleep 0.$((i * 2)); while [ -e /tmp/ask ]; do
if timeout %d curl %s >/dev/null 2>&1; then echo yes; else echo no; fi; sleep 0.1; done) & done; wait`, requestTimeout, url))...)
	return results, func() {
		b.run(t, append(shell, "rm -f /tmp/ask")...)
		for range results { // until all loops have ended
		}
	}
}

// startDemoPod creates a pod with the image of the demo, waits until it is Ready and returns its
// address.
func (b *testbed) startDemoPod(t *testing.T, name string) string {
	t.Helper()
	b.create(t, name)
	var p *corev1.Pod
	b.until(t, time.Minute, "pod "+name+" is not Ready", func() bool {
		var err error
		p, err = b.kube.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
		return err == nil && isReady(p)
	})
	return p.Status.PodIP
}

// create creates the pod of startDemoPod and does not wait for it.
func (b *testbed) create(t *testing.T, name string) {
	t.Helper()
	none := int64(0)
	_, err := b.kube.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"bench": name}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: b.node}, TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{{Name: "main", Image: demo}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// nextLine returns the time of the next line with that text.
func nextLine(t *testing.T, results <-chan line, text string) time.Time {
	t.Helper()
	late := time.After(2 * time.Minute)
	for {
		select {
		case l, more := <-results:
			if !more {
				t.Fatal("the client has ended")
			}
			if l.text == text {
				return l.at
			}
		case <-late:
			t.Fatalf("the client never says %s", text)
		}
	}
}

// discard discards the lines so far.
func discard(results <-chan line) {
	for range len(results) {
		<-results
	}
}

// spareClusterIP returns a cluster IP from the lower part of the range. Kubernetes does not
// allocate these dynamically as long as it has others.
func (b *testbed) spareClusterIP(t *testing.T) string {
	t.Helper()
	s, err := b.kube.CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := netip.ParseAddr(s.Spec.ClusterIP)
	if err != nil || !first.Is4() {
		t.Fatalf("Service kubernetes has address %q: %v", s.Spec.ClusterIP, err)
	}
	spare := first.As4()
	spare[3] = 200
	return netip.AddrFrom4(spare).String()
}

// service returns the time from a Service's creation to the first answer at its cluster IP. The
// client starts before the Service exists.
func (b *testbed) service(t *testing.T) time.Duration {
	t.Helper()
	services := b.kube.CoreV1().Services(namespace)
	wanted := func(address string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "bench"}, Spec: corev1.ServiceSpec{
			ClusterIP: address, Selector: map[string]string{"bench": "server"}, Ports: []corev1.ServicePort{{Port: 8080}},
		}}
	}
	address := b.spareClusterIP(t)
	results, stop := b.startRequests(t, address+":8080")
	defer stop()
	nextLine(t, results, "no")
	begin := time.Now()
	if _, err := services.Create(t.Context(), wanted(address), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	took := nextLine(t, results, "yes").Sub(begin)
	if err := services.Delete(t.Context(), "bench", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	return took
}

// policy measures a policy that denies all ingress. closed is the time from its creation to the
// start of the first connection without an answer. opened is the time from its deletion to the
// first answer.
func (b *testbed) policy(t *testing.T, server string) (closed, opened time.Duration) {
	t.Helper()
	policies := b.kube.NetworkingV1().NetworkPolicies(namespace)
	results, stop := b.startRequests(t, server+":8080")
	defer stop()
	nextLine(t, results, "yes")
	discard(results)
	begin := time.Now()
	_, err := policies.Create(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "bench"}, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"bench": "server"}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closed = nextLine(t, results, "no").Add(-requestTimeout * time.Second).Sub(begin)
	b.waitIdle(t)
	discard(results)
	begin = time.Now()
	if err := policies.Delete(t.Context(), "bench", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	opened = nextLine(t, results, "yes").Sub(begin)
	return closed, opened
}
