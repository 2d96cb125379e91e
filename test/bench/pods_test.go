//go:build bench

package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
)

// podNetwork is the way in which pods get their network.
type podNetwork string

const (
	// host pods use their node's network. Their time is the kubelet's own share.
	host podNetwork = "host"
	// warm pods get a ready port of the port pool. cold pods do not, because they
	// ask for an address that no pod has had.
	warm podNetwork = "warm"
	cold podNetwork = "cold"
	// first pods take any port and leave it to the port pool.
	first podNetwork = "first"
)

// burst creates n pods at once. It returns the time until the last is Ready, and the numbers of
// calls to OpenStack per pod. See calls.
func (b *testbed) burst(t *testing.T, w podNetwork, n int) (took time.Duration, path, background float64) {
	t.Helper()
	if w == warm {
		b.until(t, 3*time.Minute, fmt.Sprintf("the pool has no %d ports", n), func() bool { return b.ready(t) >= n })
	}
	b.waitIdle(t)
	b.bursts++
	pathBefore, backgroundBefore := b.calls(t)
	label := fmt.Sprintf("%s-%d-%d", w, n, time.Now().UnixNano())
	options := metav1.ListOptions{LabelSelector: "burst=" + label}
	pods := b.kube.CoreV1().Pods(namespace)
	events, err := b.watch(t, options)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	begin := time.Now()
	var all errgroup.Group
	for i := range n {
		all.Go(func() error {
			_, err := pods.Create(t.Context(), b.pod(w, label, i), metav1.CreateOptions{})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	up := map[string]bool{}
	late := time.After(5 * time.Minute)
	for len(up) < n {
		select {
		case e, goesOn := <-events.ResultChan():
			if !goesOn {
				t.Fatal("the API server has ended the watch")
			}
			if p, is := e.Object.(*corev1.Pod); is && isReady(p) {
				up[p.Name] = true
			}
		case <-late:
			t.Fatalf("%d of %d pods are Ready after five minutes", len(up), n)
		}
	}
	took = time.Since(begin)
	b.waitIdle(t)
	path, background = b.calls(t)
	soon := int64(1) // without a grace period they would disappear from the API before the node stops them
	if err := pods.DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &soon}, options); err != nil {
		t.Fatal(err)
	}
	b.until(t, 3*time.Minute, "pods do not go", func() bool {
		left, err := pods.List(t.Context(), options)
		return err == nil && len(left.Items) == 0
	})
	return took, (path - pathBefore) / float64(n), (background - backgroundBefore) / float64(n)
}

// watch watches pods from the present resourceVersion. An API server on an etcd without progress
// notices ends a watch that has none.
func (b *testbed) watch(t *testing.T, options metav1.ListOptions) (watch.Interface, error) {
	t.Helper()
	pods := b.kube.CoreV1().Pods(namespace)
	none, err := pods.List(t.Context(), options)
	if err != nil {
		return nil, err
	}
	options.ResourceVersion = none.ResourceVersion
	return pods.Watch(t.Context(), options)
}

// waitIdle waits until there has been no call to OpenStack for 5 s, except those with verb list.
// By then names are written and port pools are filled.
func (b *testbed) waitIdle(t *testing.T) {
	t.Helper()
	changes := func() float64 {
		sum := 0.0
		for _, s := range b.metrics(t) {
			if s.name == "isthmus_openstack_calls_total" && !s.has("verb", "list") {
				sum += s.value
			}
		}
		return sum
	}
	last, since := changes(), time.Now()
	b.until(t, 5*time.Minute, "OpenStack is called all the time", func() bool {
		if now := changes(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 5*time.Second
	})
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (b *testbed) pod(w podNetwork, label string, i int) *corev1.Pod {
	none := int64(0)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", label, i), Labels: map[string]string{"burst": label}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: b.node}, HostNetwork: w == host, TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{{Name: "main", Image: tools, Command: []string{"sleep", "604800"}}},
		},
	}
	if w == cold {
		p.Annotations = map[string]string{v1.AnnotationIPAddress: fmt.Sprintf("10.1.%d.%d", 200+b.bursts%50, 10+i)}
	}
	return p
}
