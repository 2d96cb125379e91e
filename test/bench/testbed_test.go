//go:build bench

package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/test/labenv"
)

const (
	namespace = "bench"
	tools     = "localhost/isthmus-tools:1"
	demo      = "localhost/isthmus-demo:1"
)

// testbed is the running lab under measurement.
type testbed struct {
	*labenv.Lab
	kube kubernetes.Interface
	runs int
	// node is the node of the measured pods.
	node string
	// control is the host of the API server's address.
	control string
	// bursts is the number of bursts so far.
	bursts int
}

func open(t *testing.T, node string) *testbed {
	t.Helper()
	lab, err := labenv.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", lab.Variable("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1 // no limit: 30 pods at once are 30 calls at once
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	api, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	b := &testbed{Lab: lab, kube: kube, runs: 3, node: node, control: api.Hostname()}
	if text := os.Getenv("ISTHMUS_BENCH_RUNS"); text != "" {
		if b.runs, err = strconv.Atoi(text); err != nil || b.runs < 1 {
			t.Fatalf("ISTHMUS_BENCH_RUNS=%s: a number", text)
		}
	}
	b.makeNamespace(t)
	return b
}

func (b *testbed) makeNamespace(t *testing.T) {
	t.Helper()
	_, err := b.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := b.kube.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), namespace, metav1.DeleteOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	b.until(t, time.Minute, "the namespace has no service account", func() bool {
		_, err := b.kube.CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
}

// until repeats is every 0.1 s until it returns true. After the timeout it fails the test with
// the text or. It is for state without events.
func (b *testbed) until(t *testing.T, timeout time.Duration, or string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", timeout, or)
		}
	}
}

// run runs a command in the lab's environment and returns its standard output.
func (b *testbed) run(t *testing.T, argv ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := b.Command(t.Context(), argv...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// lines runs a command until the test ends and returns its output lines, each with its time.
func (b *testbed) lines(t *testing.T, argv ...string) <-chan line {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := b.Command(ctx, argv...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	stderr := make(chan line, 1000)
	go func() {
		defer close(stderr)
		for in := bufio.NewScanner(out); in.Scan(); {
			stderr <- line{time.Now(), in.Text()}
		}
	}()
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	return stderr
}

type line struct {
	at   time.Time
	text string
}

// sample is one sample of the controllers' metrics. labels is the text between the braces.
type sample struct {
	name, labels string
	value        float64
}

func (s sample) has(label, value string) bool {
	return strings.Contains(","+s.labels+",", fmt.Sprintf(",%s=%q,", label, value))
}

// controllers returns the addresses of all controllers. If no controller is a pod, it runs on the
// host of the API server.
func (b *testbed) controllers(t *testing.T) []string {
	t.Helper()
	pods, err := b.kube.CoreV1().Pods(settings.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=isthmus-controller"})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		return []string{b.control}
	}
	var all []string
	for _, p := range pods.Items {
		if p.Status.HostIP != "" {
			all = append(all, p.Status.HostIP)
		}
	}
	return all
}

// metrics returns the samples of all controllers. Only the leader has Isthmus' own metrics.
func (b *testbed) metrics(t *testing.T) []sample {
	t.Helper()
	var all []sample
	for _, address := range b.controllers(t) {
		r, err := http.Get("http://" + address + ":10661/metrics")
		if err != nil {
			continue // the controller may be starting or stopping
		}
		all = append(all, parse(r.Body)...)
		_ = r.Body.Close()
	}
	return all
}

func parse(text io.Reader) []sample {
	var all []sample
	for in := bufio.NewScanner(text); in.Scan(); {
		name, rest, labelled := strings.Cut(in.Text(), "{")
		labels, number, _ := strings.Cut(rest, "} ")
		value, err := strconv.ParseFloat(number, 64)
		if labelled && err == nil {
			all = append(all, sample{name, labels, value})
		}
	}
	return all
}

// calls returns the number of calls to OpenStack so far: path for which a pod or a user waited,
// and background for the others. Calls to Octavia are left out, because no pod waits for them.
// Services whose pods are not ready on a busy machine cause such calls.
func (b *testbed) calls(t *testing.T) (path, background float64) {
	t.Helper()
	for _, s := range b.metrics(t) {
		switch {
		case s.name != "isthmus_openstack_calls_total" || s.has("service", "octavia"):
		case s.has("background", "true"):
			background += s.value
		default:
			path += s.value
		}
	}
	return path, background
}

// ready returns the number of ready ports in the node's fullest port pool.
func (b *testbed) ready(t *testing.T) int {
	t.Helper()
	most := 0.0
	for _, s := range b.metrics(t) {
		if s.name == "isthmus_pool_ports" && s.has("node", b.node) && s.has("state", "ready") {
			most = max(most, s.value)
		}
	}
	return int(most)
}

func median[T ~int64 | ~float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted)%2 == 0 {
		return (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
	}
	return sorted[len(sorted)/2]
}
