//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	labs "github.com/isthmus-cni/isthmus/internal/lab"
	"github.com/isthmus-cni/isthmus/test/labenv"
	"github.com/isthmus-cni/isthmus/test/neighbour"
)

// TestLab runs the tests of the running lab's profile.
func TestLab(t *testing.T) {
	l := openLab(t)
	switch l.profile {
	case labs.SharedOVN:
		l.sharedOVN(t)
	case labs.Neutron:
		l.neutron(t)
	case labs.Nested:
		l.nested(t)
	default:
		t.Fatalf("the lab has profile %q, and nobody has said what must hold there", l.profile)
	}
}

// sharedOVN runs the tests of profile shared-ovn. The order matters: later tests remove what
// earlier ones need.
func (l *lab) sharedOVN(t *testing.T) {
	before, stop := l.neutronRows(t), l.watchGlobal(t)
	t.Run("overlay", l.overlay)
	t.Run("kubectl ko without OVN's programs", l.kubectlPlugin)
	l.walkDocuments(t, "lab")
	t.Run("walk", l.walkSharedOVN)
	t.Run("fifty pods come and go", l.fifty)
	t.Run("nothing is disturbed by a kill", l.kill)
	t.Run("pods keep their network without us", l.without)
	t.Run("uninstall leaves Neutron's rows as they were", func(t *testing.T) { l.uninstall(t, before) })
	t.Run("nobody but Neutron raises nb_cfg", func(t *testing.T) { onlyNeutron(t, stop) })
	t.Run("rows that somebody removes are restored", l.restored)
	t.Run("repair by Neutron", l.repair)
}

// lab is the running lab.
type lab struct {
	repo string
	// env is our environment with the variables of "isthmus-lab env".
	env     []string
	profile string
}

func openLab(t *testing.T) *lab {
	t.Helper()
	found, err := labenv.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{repo: found.Repo, env: found.Env}
	l.profile = l.options(t).Profile
	if _, err := l.try(t, "kubectl", "get", "--raw", "/readyz"); err != nil {
		t.Fatal(err)
	}
	return l
}

// options returns the options with which the lab was started.
func (l *lab) options(t *testing.T) labs.Options {
	t.Helper()
	o, err := labs.Load(filepath.Dir(filepath.Dir(l.variable("KUBECONFIG"))))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// variable returns the value of a variable in the lab's environment, or "".
func (l *lab) variable(name string) string {
	return (&labenv.Lab{Repo: l.repo, Env: l.env}).Variable(name)
}

// command returns a command that runs argv with the lab's environment and PATH.
func (l *lab) command(ctx context.Context, argv ...string) *exec.Cmd {
	return (&labenv.Lab{Repo: l.repo, Env: l.env}).Command(ctx, argv...)
}

// try runs a command and returns its standard output, also with an error. The error contains
// all output.
func (l *lab) try(t *testing.T, argv ...string) (string, error) {
	t.Helper()
	// try may run in a Cleanup, in which t's context has ended
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	var out, stderr bytes.Buffer
	cmd := l.command(ctx, argv...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, out.String(), stderr.String())
	}
	return out.String(), nil
}

// run is try for a command that must succeed. It trims the output.
func (l *lab) run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := l.try(t, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (l *lab) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return l.run(t, append([]string{"kubectl"}, args...)...)
}

// apply applies objects in YAML.
func (l *lab) apply(t *testing.T, objects string) {
	t.Helper()
	l.kubectl(t, "apply", "-f", l.file(t, objects))
}

// file writes objects to a file and returns its path. The file exists until the test ends.
func (l *lab) file(t *testing.T, objects string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(name, []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// inPod runs a shell command in a pod, given as "namespace/name".
func (l *lab) inPod(t *testing.T, pod, command string) string {
	t.Helper()
	return l.run(t, podArgv(pod, command)...)
}

func podArgv(pod, command string) []string {
	namespace, name, _ := strings.Cut(pod, "/")
	return []string{"kubectl", "-n", namespace, "exec", name, "--", "sh", "-c", command}
}

// address returns the address of a pod, given as "namespace/name".
func (l *lab) address(t *testing.T, pod string) string {
	t.Helper()
	namespace, name, _ := strings.Cut(pod, "/")
	return l.kubectl(t, "-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.podIP}")
}

func (l *lab) ready(t *testing.T, pods ...string) {
	t.Helper()
	for _, pod := range pods {
		namespace, name, _ := strings.Cut(pod, "/")
		l.kubectl(t, "-n", namespace, "wait", "--for=condition=Ready", "pod/"+name, "--timeout=120s")
	}
}

// until repeats look until it returns nil, and fails the test after the timeout. It is for state
// without events. The pause between two tries grows from 0.1 s to 1 s.
func until(t *testing.T, timeout time.Duration, look func() error) {
	t.Helper()
	repeat(t, timeout, 100*time.Millisecond, time.Second, look)
}

// untilCloud is until with longer pauses. It is for the openstack client, each run of which
// takes 1 to 2 s of CPU time.
func untilCloud(t *testing.T, timeout time.Duration, look func() error) {
	t.Helper()
	repeat(t, timeout, 2*time.Second, 5*time.Second, look)
}

func repeat(t *testing.T, timeout, pause, maxPause time.Duration, look func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", timeout, err)
		}
		time.Sleep(pause)
		pause = min(3*pause/2, maxPause)
	}
}

// rows returns the present rows of the northbound database.
func (l *lab) rows(t *testing.T) []neighbour.Row {
	t.Helper()
	rows, err := neighbour.Read(context.WithoutCancel(t.Context()), l.variable("OVN_NB_DB"))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// watchGlobal watches NB_Global until stop is called. See neighbour.Watch.
func (l *lab) watchGlobal(t *testing.T) (stop func() ([]string, error)) {
	t.Helper()
	stop, err := neighbour.Watch(context.WithoutCancel(t.Context()), l.variable("OVN_NB_DB"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stop() })
	return stop
}

// onlyNeutron fails the test if another program than Neutron increased NB_Global.nb_cfg, with
// which Neutron checks whether its agents are alive.
func onlyNeutron(t *testing.T, stop func() ([]string, error)) {
	changes, err := stop()
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		t.Error(change)
	}
}

// neutronRows returns Neutron's rows from before the installation of Isthmus, which are in the
// file ISTHMUS_BEFORE. If that variable is not set, it returns the present ones.
func (l *lab) neutronRows(t *testing.T) []string {
	t.Helper()
	file := os.Getenv("ISTHMUS_BEFORE")
	if file == "" {
		t.Log("ISTHMUS_BEFORE is not set: Neutron's rows will be compared with those of now, not with those before the installation")
		return neighbour.Foreign(l.rows(t))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}
