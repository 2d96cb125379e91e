//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/walk"
	"github.com/isthmus-cni/isthmus/test/neighbour"
)

// uninstall follows docs/install.md. Then nothing of Isthmus may be on any node, in the API
// server or in OVN. Everything else must be as before the installation, which is before. In the
// end it installs Isthmus again.
func (l *lab) uninstall(t *testing.T, before []string) {
	const page = "docs/install.md"
	text, err := os.ReadFile(filepath.Join(l.repo, page))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := walk.Parse(page, strings.ReplaceAll(string(text), "--cluster NAME", "--cluster lab"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = walk.Run(t.Context(), doc, walk.Options{
		Dir: l.repo, Env: l.env, Timeout: walkTimeout, Log: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.compareTraces(t, l.checkNoTraces(t))
	rows := l.rows(t)
	if ours := neighbour.Ours(rows); len(ours) > 0 {
		t.Errorf("ours, but still there:\n%s", strings.Join(ours, "\n"))
	}
	if diff := cmp.Diff(before, neighbour.Foreign(rows)); diff != "" {
		t.Errorf("Neutron's rows, -before +after:\n%s", diff)
	}
	l.run(t, "isthmus-lab", "up")
}

// checkNoTraces returns the list of test/traces.sh for the nodes and the API server. It fails the
// test if an entry belongs to Isthmus.
func (l *lab) checkNoTraces(t *testing.T) (traces []string) {
	t.Helper()
	traces = strings.Split(l.run(t, "test/traces.sh"), "\n")
	for _, line := range traces {
		if ownTrace.MatchString(strings.ReplaceAll(line, labTable, "")) {
			t.Errorf("still there: %s", line)
		}
	}
	return traces
}

// compareTraces compares after with the list from before the installation, which is the file
// ISTHMUS_TRACES. It does nothing if that variable is not set.
func (l *lab) compareTraces(t *testing.T, after []string) {
	t.Helper()
	file := os.Getenv("ISTHMUS_TRACES")
	if file == "" {
		t.Log("ISTHMUS_TRACES is not set: nodes and API server are not compared with what was there before the installation")
		return
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(before)), "\n"), after); diff != "" {
		t.Errorf("on the nodes and in the API server, -before +after:\n%s", diff)
	}
}

// labTable is the nftables table by which the lab's node1 is the gateway of network public.
const labTable = "isthmus-lab"

// ownTrace matches entries of Isthmus by name, and by the protocol and the table number of its
// routes.
var ownTrace = regexp.MustCompile(`isthmus|kubeovn\.io|kuryrloadbalancer|\bovn0\b|owned port|proto 73\b|table 7349\b|lookup 7349\b`)

// uninstallCloud follows docs/install.md. Then no project may have anything of Isthmus, and
// Neutron's comparison with OVN must report nothing of Isthmus.
func (l *lab) uninstallCloud(t *testing.T) {
	t.Cleanup(func() { l.run(t, "isthmus-lab", "up") })
	// A pod that stays would have no interface after the new installation.
	l.kubectl(t, "-n", "kube-system", "delete", "deployment", "coredns", "--cascade=foreground")
	l.kubectl(t, "delete", "--cascade=foreground", "-f", "deploy/controller.yaml", "-f", "deploy/agent.yaml")
	l.kubectl(t, "apply", "-f", "deploy/uninstall")
	l.kubectl(t, "-n", "kube-system", "rollout", "status", "daemonset/isthmus-cleanup", "--timeout=150s")
	l.kubectl(t, "delete", "--cascade=foreground", "-f", "deploy/uninstall")
	t.Log(l.kubectl(t, "ko", "neutron", "cleanup", "--cluster", "lab", "--yes"))
	t.Log(l.kubectl(t, "ko", "cleanup", "--cluster", "lab", "--yes"))
	l.kubectl(t, "-n", "kube-system", "delete", "secret", "isthmus-openstack")
	l.kubectl(t, "delete", "-f", "deploy", "-f", "api/crds", "--ignore-not-found", "--timeout=150s")
	l.checkNoTraces(t)
	if ours := l.oursInOpenStack(t); len(ours) > 0 {
		t.Errorf("ours, but still there:\n%s", strings.Join(ours, "\n"))
	}
	if ours := neighbour.Ours(l.rows(t)); len(ours) > 0 {
		t.Errorf("ours, but still there:\n%s", strings.Join(ours, "\n"))
	}
	dir := filepath.Dir(l.variable("OS_CLIENT_CONFIG_FILE"))
	cmd := l.command(t.Context(), openstack.Config{Dir: dir}.SyncArgv("log")...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("compare Neutron with OVN: %v\n%s", err, output)
	}
	own := strings.Fields(l.run(t, "env", "OS_CLOUD=admin", "openstack", "port", "list", "--router", "router1", "-f", "value", "-c", "ID"))
	for line := range strings.Lines(string(output)) {
		bad := strings.Contains(line, " WARNING ") || strings.Contains(line, " ERROR ")
		if m := routerPort.FindStringSubmatch(line); bad && (m == nil || !slices.Contains(own, m[1])) {
			t.Errorf("Neutron finds in OVN what is none of its own: %s", line)
		}
	}
}

// routerPort matches the warning of Zed's tool about each of Neutron's own router ports. The
// tool prints it even without Isthmus.
var routerPort = regexp.MustCompile(`Router Port port_id=(\S+) needs to be updated for networks changed`)

// oursInOpenStack returns the resources with the cluster's tag in all projects.
func (l *lab) oursInOpenStack(t *testing.T) []string {
	t.Helper()
	const mark = "isthmus-owner=lab"
	var found []string
	for _, kind := range []string{"network", "subnet", "port", "security group", "floating ip", "loadbalancer"} {
		argv := append(append([]string{"openstack"}, strings.Fields(kind)...), "list", "-f", "value", "-c", "ID")
		if kind == "loadbalancer" {
			argv[len(argv)-1] = "id"
		}
		for id := range strings.FieldsSeq(l.run(t, append(argv, "--tags", mark)...)) {
			found = append(found, kind+" "+id)
		}
	}
	for name := range strings.FieldsSeq(l.run(t, "openstack", "port", "list", "--device-owner", "compute:kuryr", "-f", "value", "-c", "ID")) {
		found = append(found, "port "+name)
	}
	return found
}
