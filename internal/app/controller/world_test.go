package controller

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/kubetest"
	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
)

// world is the state of one script.
type world struct {
	ts     *testscript.TestScript
	t      testing.TB
	dir    string
	server *kubetest.Server
	nbdb   *ovntest.Server
	client client.Client
	child  *exec.Cmd
	used   *os.ProcessState
	cloud  fakeCloud
	before string
	// noted is what the command note has recorded: a kind, a template and their
	// text.
	noted [3]string
}

func newWorld(e *testscript.Env) (*world, error) {
	t, ok := e.T().(interface{ testing.TB })
	if !ok {
		return nil, fmt.Errorf("%T is no test", e.T())
	}
	w := &world{t: t, dir: e.WorkDir, server: <-apiservers}
	e.Defer(func() { apiservers <- w.server })
	e.Defer(func() {
		_ = w.stop(nil)
		w.checkLog()
		w.checkEvents()
		w.clean()
	})
	return w, w.prepare()
}

func (w *world) prepare() (err error) {
	w.nbdb = ovntest.New(w.t, ovntest.Northbound)
	w.nbdb.Nbctl("init")
	w.cloud = fakeCloud{}
	if w.client, err = client.New(w.server.Config, client.Options{Scheme: kube.NewScheme()}); err != nil {
		return err
	}
	return w.install()
}

// install writes what the program needs at its start: its settings, and a
// kubeconfig with exactly the rights of the deployed service account.
func (w *world) install() error {
	if err := w.applyFile("../../../deploy/rbac.yaml"); err != nil {
		return err
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name}}
	token := &authv1.TokenRequest{}
	if err := w.client.SubResource("token").Create(context.Background(), sa, token); err != nil {
		return err
	}
	kubeconfig := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}], users: [{name: u, user: {token: %s}}]}`,
		w.server.Config.Host, w.server.CA, token.Status.Token)
	return errors.Join(os.WriteFile(w.file("kubeconfig"), []byte(kubeconfig), 0o600), w.configure(""))
}

// configure writes the settings.
func (w *world) configure(more string) error {
	settings := fmt.Sprintf("nbAddresses: [%q]\napiServers: [%q]\ncluster: test\n", w.nbdb.Address, strings.TrimPrefix(w.server.Config.Host, "https://"))
	return os.WriteFile(w.file("settings"), []byte(settings+more), 0o600)
}

func (w *world) file(name string) string { return filepath.Join(w.dir, ".world-"+name) }

func (w *world) start(args []string) error {
	log, err := os.OpenFile(w.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	w.child = exec.Command(os.Args[0], append([]string{
		"--settings", w.file("settings"), "--kubeconfig", w.file("kubeconfig"),
		"--listen=0", "--leader-elect=false", "--pool-socket", w.file("pool"),
	}, args...)...)
	w.child.Env = append(os.Environ(), inChild+"=1")
	w.child.Stdout, w.child.Stderr = log, log
	w.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return w.child.Start()
}

func (w *world) stop([]string) error {
	if w.child == nil {
		return nil
	}
	_ = w.child.Process.Kill()
	_ = w.child.Wait()
	w.used, w.child = w.child.ProcessState, nil
	return nil
}

func (w *world) restart([]string) error {
	if w.child == nil {
		return nil
	}
	_ = w.stop(nil)
	return w.start(nil)
}

// checkLog fails the test if the log has a secret or a text that it must never
// have.
func (w *world) checkLog() {
	text, _ := os.ReadFile(w.file("log"))
	for _, bad := range slices.Concat(secrets(), []string{"forbidden", "panic", "DATA RACE", "claimed twice"}) {
		if i := bytes.Index(text, []byte(bad)); i >= 0 {
			w.t.Errorf("the controller said %q:\n%s", bad, text[max(0, i-300):min(len(text), i+1500)])
		}
	}
}

func (w *world) logTail() string {
	text, _ := os.ReadFile(w.file("log"))
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

func (w *world) apply(files []string) error {
	for _, f := range files {
		if err := w.applyFile(w.ts.MkAbs(f)); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

func (w *world) applyFile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text = []byte(w.named(strings.ReplaceAll(string(text), "$ROUTER", w.cloud.router)))
	d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); err != nil || u.Object == nil {
			return ignoreEOF(err)
		}
		if err := w.client.Apply(context.Background(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("user"), client.ForceOwnership); err != nil {
			return err
		}
	}
}

func ignoreEOF(err error) error {
	if err != nil && err.Error() == "EOF" {
		return nil
	}
	return err
}

// gvks are the kinds that scripts use.
var gvks = map[string][2]string{
	"vpc": {"kubeovn.io/v1", "Vpc"}, "subnet": {"kubeovn.io/v1", "Subnet"}, "ip": {"kubeovn.io/v1", "IP"},
	"klb": {"openstack.org/v1", "KuryrLoadBalancer"}, "service": {"v1", "Service"}, "endpointslice": {"discovery.k8s.io/v1", "EndpointSlice"},
	"networkpolicy": {"networking.k8s.io/v1", "NetworkPolicy"},
	"pod":           {"v1", "Pod"}, "node": {"v1", "Node"}, "statefulset": {"apps/v1", "StatefulSet"}, "event": {"v1", "Event"},
}

func objectOf(kind, path string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(gvks[kind][0])
	u.SetKind(gvks[kind][1])
	ns, n, ok := strings.Cut(path, "/")
	if !ok {
		ns, n = "", path
	}
	u.SetNamespace(ns)
	u.SetName(n)
	return u
}

func (w *world) delete(args []string) error {
	return w.client.Delete(context.Background(), objectOf(args[0], args[1]), client.GracePeriodSeconds(0))
}

// bind POD NODE binds a pod to a node, as the scheduler does.
func (w *world) bind(args []string) error {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name, _ = strings.Cut(args[0], "/")
	return w.client.SubResource("binding").Create(context.Background(), pod, &corev1.Binding{
		ObjectMeta: pod.ObjectMeta, Target: corev1.ObjectReference{Kind: "Node", Name: args[1]},
	})
}

func (w *world) phase(args []string) error {
	return w.client.Status().Patch(context.Background(), objectOf("pod", args[0]),
		client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"status":{"phase":%q}}`, args[1])))
}

func (w *world) scale(args []string) error {
	return w.client.Patch(context.Background(), objectOf("statefulset", args[0]),
		client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%s}}`, args[1])))
}

func (w *world) nbctl(args []string) error {
	for i := range args {
		args[i] = w.named(args[i])
	}
	w.nbdb.Nbctl(args...)
	return nil
}

// end NAMESPACE deletes a namespace and removes its finalizer, as its controller
// would.
func (w *world) end(args []string) error {
	ctx := context.Background()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
	if err := w.client.Delete(ctx, ns); err != nil {
		return err
	}
	return client.IgnoreNotFound(w.client.SubResource("finalize").Update(ctx, ns))
}

// neutron creates a Neutron router and its network in OVN, as Neutron writes
// them.
func (w *world) neutron([]string) error {
	const router, network = "neutron-22040ed5-0598-4f77-bffd-e7fd4db47e93", "neutron-cd59e36a-37db-4c27-b709-d35379a7920f"
	const port = "lrp-a7a2f2be-c8e2-4129-b94b-f28f566e4ea6"
	for _, args := range [][]string{
		{"ls-add", network, "--", "set", "logical_switch", network, `external_ids:"neutron:network_name"=provider`, `external_ids:"neutron:mtu"=1442`},
		{"lsp-add", network, "vm", "--", "lsp-set-addresses", "vm", "fa:16:3e:f4:82:3c 192.168.1.61"},
		{"lr-add", router, "--", "set", "logical_router", router, `external_ids:"neutron:router_name"=router0`},
		{"lrp-add", router, port, "fa:16:3e:1f:52:fc", "192.168.1.1/24", "--", "set", "logical_router_port", port, `external_ids:"neutron:subnet_ids"=sub`, `external_ids:"neutron:network_name"=` + network},
		{"lsp-add", network, "r", "--", "lsp-set-type", "r", "router", "--", "lsp-set-addresses", "r", "router", "--", "lsp-set-options", "r", "router-port=" + port},
		{"lr-nat-add", router, "snat", "172.24.4.10", "192.168.1.0/24"},
		{"lb-add", "octavia", "192.168.1.9:80", "192.168.1.61:80", "--", "lr-lb-add", router, "octavia"},
	} {
		w.nbdb.Nbctl(args...)
	}
	return nil
}

// snapshot records the database's content. unchanged waits until all rows that
// are not ours are as recorded, same until all rows are.
func (w *world) snapshot([]string) error {
	w.before = w.nbdb.DumpExact()
	return nil
}

func (w *world) unchanged([]string) error {
	return eventually(w.before, func() (string, error) { return w.nbdb.DumpOthers("isthmus-owner"), nil })
}

func (w *world) same([]string) error {
	return eventually(w.before, func() (string, error) { return w.nbdb.DumpExact(), nil })
}

// nb FILE TABLE COLUMNS [CONDITION...] waits until the table's rows are those of
// the file.
func (w *world) nb(args []string) error {
	return w.compare(args[0], func() (string, error) {
		find := append([]string{"--format=csv", "--data=bare", "--no-headings", "--columns=" + args[2], "find", args[1]}, args[3:]...)
		return w.nbdb.Nbctl(find...), nil
	})
}

// kube FILE KIND TEMPLATE waits until the file has one line for each object, made
// by a JSONPath template.
func (w *world) kube(args []string) error {
	return w.compare(args[0], func() (string, error) { return w.render(args[1], args[2]) })
}

func (w *world) render(kind, template string) (string, error) {
	j := jsonpath.New("kube").AllowMissingKeys(true)
	if err := j.Parse(template); err != nil {
		return "", err
	}
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion(gvks[kind][0])
	list.SetKind(gvks[kind][1] + "List")
	if err := w.client.List(context.Background(), list); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, o := range list.Items {
		if err := j.Execute(&b, o.Object); err != nil {
			return "", err
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

// compare waits until the result is the file's content. The file "-" is empty.
func (w *world) compare(file string, ask func() (string, error)) error {
	want := ""
	if file != "-" {
		want = w.named(strings.ReplaceAll(w.ts.ReadFile(file), "$ROUTER", w.cloud.router))
	}
	return eventually(sorted(want), func() (string, error) {
		got, err := ask()
		return sorted(got), err
	})
}

func sorted(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// event REASON TEXT waits until an event has both. An empty REASON matches any.
func (w *world) event(args []string) error {
	return eventually("yes", func() (string, error) {
		var l corev1.EventList
		if err := w.client.List(context.Background(), &l); err != nil {
			return "", err
		}
		var got []string
		for _, e := range l.Items {
			if (args[0] == "" || e.Reason == args[0]) && strings.Contains(e.Message, args[1]) {
				return "yes", nil
			}
			got = append(got, e.Reason+": "+e.Message)
		}
		return strings.Join(got, "\n"), nil
	})
}

// clean deletes all objects for the next script. Namespaces stay, because no
// controller runs that would finish their deletion.
func (w *world) clean() {
	ctx := context.Background()
	kinds := []string{"networkpolicy", "service", "endpointslice", "klb", "statefulset", "pod", "node", "ip", "subnet", "vpc", "event"}
	for _, k := range kinds {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(gvks[k][0])
		list.SetKind(gvks[k][1] + "List")
		if err := w.client.List(ctx, list); err != nil {
			w.t.Error(err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			err := w.client.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
			derr := w.client.Delete(ctx, o, client.GracePeriodSeconds(0))
			if err := cmp.Or(client.IgnoreNotFound(err), client.IgnoreNotFound(derr)); err != nil {
				w.t.Error(err)
			}
		}
	}
}
