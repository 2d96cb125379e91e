package ko

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

const configured = `
cluster: test
nbAddresses: ["tcp:172.31.0.1:6641", "tcp:172.31.0.2:6641"]
sbAddresses: ["tcp:172.31.0.1:6642"]
apiServers: ["172.31.0.1:6443"]
`

func configMap(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: settings.ConfigMap},
		Data:       map[string]string{settings.Key: text},
	}
}

func node(name, address string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if address != "" {
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: address}}
	}
	return n
}

// nestedNode returns a node that is a virtual machine.
func nestedNode(name string) *corev1.Node {
	n := node(name, "192.168.1.61")
	n.Annotations = map[string]string{v1.Plug: v1.PlugVLAN}
	return n
}

// testTool is a tool with a fake cluster.
type testTool struct {
	*tool
	out  bytes.Buffer
	ran  [][]string
	kube *fake.Clientset
}

func newTestTool(objects ...runtime.Object) *testTool {
	b := &testTool{kube: fake.NewClientset(objects...)}
	b.tool = newTool(Streams{In: strings.NewReader(""), Out: &b.out, Err: &b.out})
	b.connect = func() (kubernetes.Interface, error) { return b.kube, nil }
	b.findProgram = func(name string) (string, error) { return "/bin/" + name, nil }
	b.getenv = func(string) string { return "" }
	b.run = func(_ context.Context, _ Streams, argv []string) error { b.ran = append(b.ran, argv); return nil }
	return b
}

func TestDatabasePassesArgumentsOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want []string }{
		{[]string{"nbctl", "show"}, []string{"/bin/ovn-nbctl", "--db=tcp:172.31.0.1:6641,tcp:172.31.0.2:6641", "show"}},
		{
			[]string{"--context", "lab", "nbctl", "--may-exist", "ls-add", "a", "--", "set", "logical_switch", "a", `other_config:x="a b"`},
			[]string{"/bin/ovn-nbctl", "--db=tcp:172.31.0.1:6641,tcp:172.31.0.2:6641", "--may-exist", "ls-add", "a", "--", "set", "logical_switch", "a", `other_config:x="a b"`},
		},
		{[]string{"nbctl", "--wait=none", "show"}, []string{"/bin/ovn-nbctl", "--db=tcp:172.31.0.1:6641,tcp:172.31.0.2:6641", "--wait=none", "show"}},
		{[]string{"sbctl", "--wait=sb", "--help", "x"}, []string{"/bin/ovn-sbctl", "--db=tcp:172.31.0.1:6642", "--wait=sb", "--help", "x"}},
	} {
		b := newTestTool(configMap(configured))
		if err := b.execute(t.Context(), c.args); err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
		if diff := cmp.Diff([][]string{c.want}, b.ran); diff != "" {
			t.Errorf("%q: -want +ran:\n%s", c.args, diff)
		}
	}
}

func TestDatabaseRefusesWait(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"--wait=sb", "--wait=hv", "--wait", "--wai=sb", "--w=hv"} {
		b := newTestTool(configMap(configured))
		err := b.execute(t.Context(), []string{"nbctl", arg, "ls-add", "a"})
		if err == nil || !strings.Contains(err.Error(), "NB_Global") || len(b.ran) > 0 {
			t.Errorf("%s: got %v and ran %q", arg, err, b.ran)
		}
	}
	if northbound.refuse(nil, "--oneline --wait=sb") == nil {
		t.Error("OVN_NBCTL_OPTIONS can bring --wait in")
	}
}

func TestDatabaseWithoutSettings(t *testing.T) {
	t.Parallel()
	for text, objects := range map[string][]runtime.Object{
		"is Isthmus installed here":   nil,
		"the settings have no sbAddr": {configMap("cluster: a\nnbAddresses: ['tcp:x:1']\napiServers: ['x:1']")},
	} {
		err := newTestTool(objects...).execute(t.Context(), []string{"sbctl", "show"})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}

// agentPod returns the DaemonSet and one of its pods.
func agentPod() []runtime.Object {
	labels := map[string]string{"app": agents}
	return []runtime.Object{
		&appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: agents},
			Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}},
		},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: "a", Labels: labels},
			Spec:       corev1.PodSpec{NodeName: "node2", Containers: []corev1.Container{{Image: "localhost/isthmus:dev"}}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		},
	}
}

// ends makes each watched pod end at once with state.
func (b *testTool) ends(state corev1.ContainerStateTerminated) {
	b.kube.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
		w := watch.NewFakeWithChanSize(1, false)
		w.Add(&corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &state}}}}})
		return true, w, nil
	})
}

func TestDatabaseOnNode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state corev1.ContainerStateTerminated
		check func(error) bool
	}{
		"well":    {corev1.ContainerStateTerminated{}, func(err error) bool { return err == nil }},
		"badly":   {corev1.ContainerStateTerminated{ExitCode: 1}, func(err error) bool { return errors.Is(err, Exit(1)) }},
		"missing": {corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError"}, func(err error) bool { return err != nil && strings.Contains(err.Error(), "apt install ovn-common") }},
	} {
		b := newTestTool(append(agentPod(), configMap(configured))...)
		b.findProgram = func(string) (string, error) { return "", errors.New("not found") }
		b.ends(c.state)
		if err := b.execute(t.Context(), []string{"nbctl", "show"}); !c.check(err) {
			t.Errorf("%s: %v", name, err)
		}
		var created *corev1.Pod
		for _, a := range b.kube.Actions() {
			if made, ok := a.(clienttesting.CreateAction); ok {
				created = made.GetObject().(*corev1.Pod)
			}
		}
		if created == nil || created.Spec.NodeName != "node2" || !created.Spec.HostNetwork ||
			!slices.Equal(created.Spec.Containers[0].Command, []string{"/usr/bin/ovn-nbctl"}) {
			t.Errorf("%s: created %+v", name, created)
		}
		if left, err := b.kube.CoreV1().Pods(settings.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) != 1 {
			t.Errorf("%s: %d pods are left, want the agent's alone (%v)", name, len(left.Items), err)
		}
	}
}

// No program is run on a virtual machine, which has no OVN.
func TestNoProgramOnNestedNode(t *testing.T) {
	t.Parallel()
	objects := agentPod()
	b := newTestTool(append(objects, configMap(configured), nestedNode(objects[1].(*corev1.Pod).Spec.NodeName))...)
	b.findProgram = func(name string) (string, error) { return "", errors.New(name + " is not there") }
	if err := b.execute(t.Context(), []string{"nbctl", "show"}); err == nil || !strings.Contains(err.Error(), "on a node with OVN") {
		t.Errorf("got %v", err)
	}
}

// The program is run even if the user may create pods but not list nodes.
func TestProgramWithoutNodePermission(t *testing.T) {
	t.Parallel()
	b := newTestTool(append(agentPod(), configMap(configured))...)
	b.findProgram = func(name string) (string, error) { return "", errors.New(name + " is not there") }
	b.ends(corev1.ContainerStateTerminated{})
	b.kube.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "", nil)
	})
	if err := b.execute(t.Context(), []string{"nbctl", "show"}); err != nil {
		t.Error(err)
	}
}

func TestNeutronConfig(t *testing.T) {
	t.Parallel()
	b := newTestTool(configMap(configured), node("node2", ""), node("node1", "172.31.0.11"), nestedNode("worker1"))
	if err := b.execute(t.Context(), []string{"neutron", "config"}); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "neutron-config"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCleanupNeedsTheControllerGone(t *testing.T) {
	t.Parallel()
	controller := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: controllers}, Status: appsv1.DeploymentStatus{Replicas: 1}}
	err := newTestTool(configMap(configured), controller).execute(t.Context(), []string{"cleanup", "--cluster", "test", "--yes"})
	if err == nil || !strings.Contains(err.Error(), "would put everything back") {
		t.Errorf("got %v", err)
	}
}

// A cluster without settings may be another one: its objects are released only after a
// confirmation.
func TestCleanupWithoutSettingsAsks(t *testing.T) {
	t.Parallel()
	o := cleanup{cluster: "test", northbounds: []string{"tcp:172.31.0.1:6641"}}
	for name, c := range map[string]struct {
		objects []runtime.Object
		want    cleanupTarget
	}{
		"the cluster": {[]runtime.Object{configMap(configured)}, cleanupTarget{northbounds: o.northbounds, here: true}},
		"another":     {[]runtime.Object{configMap(strings.Replace(configured, "cluster: test", "cluster: other", 1))}, cleanupTarget{northbounds: o.northbounds}},
		"none":        {nil, cleanupTarget{northbounds: o.northbounds, here: true, noSettings: true}},
	} {
		got, err := newTestTool(c.objects...).cleanable(t.Context(), o)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(cleanupTarget{})); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	for answer, confirmed := range map[string]bool{"test\n": true, "yes\n": false, "": false} {
		b := newTestTool()
		b.In = strings.NewReader(answer)
		if err := b.confirmRelease(o); (err == nil) != confirmed {
			t.Errorf("%q: %v", answer, err)
		}
	}
}
