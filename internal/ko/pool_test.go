package ko

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// controllerPods returns the Deployment's pods, one on each node, and the lease of the
// one on node1.
func controllerPods(nodes ...string) []runtime.Object {
	labels := map[string]string{"app": controllers}
	all := []runtime.Object{lease(time.Hour), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: controllers},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}},
	}}
	for _, n := range nodes {
		all = append(all, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: "on-" + n, Labels: labels},
			Spec:       corev1.PodSpec{NodeName: n, Containers: []corev1.Container{{Name: "controller"}}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		})
	}
	return all
}

const twoPools = `[{"node":"node1","subnet":"pods","groups":["k8s-pods"],"ready":5,"returning":1,"making":0,
  "ports":[{"id":"p1","addresses":["10.1.0.5","fd00::5"],"state":"ready"},{"id":"p2","addresses":["10.1.0.6"],"state":"returning"}]},
 {"node":"node2","subnet":"net-of-vms","groups":["node/node1","web"],"ready":0,"returning":0,"making":3}]`

func TestPoolCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args, asks, answer, want, fails string
	}{
		{
			args: "pool list", asks: "pool list", answer: twoPools,
			want: `
NODE    SUBNET       GROUPS           READY   RETURNING   MAKING
node1   pods         k8s-pods         5       1           0
node2   net-of-vms   node/node1,web   0       0           3
`,
		},
		{
			args: "pool show --node node1 --subnet pods", asks: "pool list node=node1 subnet=pods ports=true", answer: twoPools,
			want: `
NODE    SUBNET   GROUPS     PORT   ADDRESSES          STATE
node1   pods     k8s-pods   p1     10.1.0.5,fd00::5   ready
node1   pods     k8s-pods   p2     10.1.0.6           returning
`,
		},
		{
			args: "--context lab pool fill --node node1 -n 7", asks: "pool fill node=node1 n=7",
			answer: `[{"node":"node1","subnet":"pods","groups":["k8s-pods"],"made":4,"problem":"waiting for quota"}]`,
			want: `
NODE    SUBNET   GROUPS     MADE
node1   pods     k8s-pods   4
`,
			fails: "waiting for quota",
		},
		{args: "pool free --all", asks: "pool free all=true", answer: `{"ports":8}`, want: "\nPorts that are in no pool any more: 8.\n"},
		{
			args: "pool free --node node1", asks: "pool free node=node1", answer: `{"ports":8,"problem":"Neutron is away"}`,
			want: "\nPorts that are in no pool any more: 8.\n", fails: "not all of them are deleted yet; the controller continues: Neutron is away",
		},
		{args: "pool list", asks: "pool list", answer: "nonsense", want: "\n", fails: `pod kube-system/on-node1 answers "nonsense"`},
	} {
		b := newTestTool(controllerPods("node2", "node1")...)
		b.run = func(_ context.Context, s Streams, argv []string) error {
			b.ran = append(b.ran, argv)
			_, err := fmt.Fprint(s.Out, c.answer)
			return err
		}
		err := b.execute(t.Context(), strings.Fields(c.args))
		if failed := err != nil; failed != (c.fails != "") || failed && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", c.args, err)
		}
		if diff := cmp.Diff(c.want, "\n"+b.out.String()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.args, diff)
		}
		want := "--namespace kube-system exec on-node1 --container controller -- /isthmus-controller " + c.asks
		if strings.HasPrefix(c.args, "--context lab ") {
			want = "--context lab " + want
		}
		if diff := cmp.Diff([][]string{strings.Fields("/bin/kubectl " + want)}, b.ran); diff != "" {
			t.Errorf("%s: -want +ran:\n%s", c.args, diff)
		}
	}
}

// A controller outside the cluster has no pod, and is asked at its socket.
func TestPoolsOfControllerOutside(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pool.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	asked := ""
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.RequestURI()
		fmt.Fprint(w, twoPools)
	})}
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()
	b := newTestTool()
	if err := b.execute(t.Context(), []string{"pool", "list", "--pool-socket", path, "--node=node1"}); err != nil {
		t.Error(err)
	}
	_ = s.Close()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if asked != "GET /list?node=node1" || len(b.ran) > 0 || !strings.Contains(b.out.String(), "node1   pods") {
		t.Errorf("asked %q, ran %q, said %s", asked, b.ran, b.out.String())
	}
	if err := b.execute(t.Context(), []string{"pool", "list"}); err == nil {
		t.Error("it was found though nobody said where it is")
	}
}

func TestPoolCommandsRefused(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"pool fill":                    `required flag(s) "node"`,
		"pool free":                    "at least one of the flags",
		"pool free --all --node node1": "none of the others can be",
	} {
		if err := newTestTool(controllerPods("node1")...).execute(t.Context(), strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestLeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		holder string
		nodes  []string
		want   string
	}{
		"by node":                {"node1_x", []string{"node2", "node1"}, "on-node1"},
		"by its long name":       {"node1.example.org_x", []string{"node2", "node1"}, "on-node1"},
		"by its short name":      {"node1_x", []string{"node2.example.org", "node1.example.org"}, "on-node1.example.org"},
		"by pod":                 {"on-node1_x", []string{"node2", "node1"}, "on-node1"},
		"the only one":           {"another-name_x", []string{"node1"}, "on-node1"},
		"none of several":        {"another-name_x", []string{"node2", "node1"}, ""},
		"a node that begins so":  {"node1_x", []string{"node2", "node11"}, ""},
		"none runs":              {"node1_x", nil, ""},
		"nobody holds the lease": {"", []string{"node1"}, ""},
	} {
		var pods []corev1.Pod
		for _, o := range controllerPods(c.nodes...) {
			if p, is := o.(*corev1.Pod); is {
				pods = append(pods, *p)
			}
		}
		got, err := holding(c.holder, pods)
		if (err != nil) != (c.want == "") || err == nil && got.Name != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
