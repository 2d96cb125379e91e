package controller

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
)

// BenchmarkPods measures how fast a controller that has just started creates the
// claims of 2,000 pods on 20 nodes. Run it with -benchtime 1x.
func BenchmarkPods(b *testing.B) {
	const pods, nodes = 2000, 20
	server := <-apiservers
	defer func() { apiservers <- server }()
	for b.Loop() {
		b.StopTimer()
		w := &world{t: b, dir: b.TempDir(), server: server}
		if err := w.prepare(); err != nil {
			b.Fatal(err)
		}
		for n := range nodes {
			w.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("node", n), Annotations: map[string]string{v1.Plug: v1.PlugOVS}}})
		}
		w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "e-bench"}})
		var group errgroup.Group
		group.SetLimit(32)
		for p := range pods {
			group.Go(func() error { w.create(benchPod(p, nodes)); return nil })
		}
		_ = group.Wait()
		b.StartTimer()
		start := time.Now()
		if err := w.start(nil); err != nil {
			b.Fatal(err)
		}
		w.awaitClaims(b, pods+nodes)
		took := time.Since(start)
		b.StopTimer()
		_ = w.stop(nil)
		b.ReportMetric(pods/took.Seconds(), "pods/s")
		b.ReportMetric(float64((w.used.UserTime()+w.used.SystemTime()).Milliseconds())/pods, "cpu-ms/pod")
		w.clean()
		b.StartTimer()
	}
}

func benchPod(p, nodes int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "e-bench", Name: fmt.Sprint("p", p)},
		Spec:       corev1.PodSpec{NodeName: fmt.Sprint("node", p%nodes), Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func (w *world) create(o client.Object) {
	if err := w.client.Create(context.Background(), o); client.IgnoreAlreadyExists(err) != nil {
		w.t.Error(err)
	}
}

// awaitClaims uses a watch, because polling would change what is measured.
func (w *world) awaitClaims(b *testing.B, n int) {
	c, err := client.NewWithWatch(w.server.Config, client.Options{Scheme: kube.NewScheme()})
	if err != nil {
		b.Fatal(err)
	}
	events, err := c.Watch(context.Background(), &v1.IPList{})
	if err != nil {
		b.Fatal(err)
	}
	defer events.Stop()
	seen := map[string]bool{}
	for e := range events.ResultChan() {
		if ip, ok := e.Object.(*v1.IP); ok {
			seen[ip.Name] = true
		}
		if len(seen) == n {
			return
		}
	}
	b.Fatalf("%d of %d claims\n%s", len(seen), n, w.logTail())
}
