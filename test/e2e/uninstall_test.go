//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/test/neighbour"
)

// uninstallCloud is what docs/install.md says; then no project has anything of
// ours, and Neutron finds nothing in OVN that is.
func (l *lab) uninstallCloud(t *testing.T) {
	t.Cleanup(func() { l.run(t, "isthmus-lab", "up") })
	l.kubectl(t, "delete", "-f", "deploy/controller.yaml", "-f", "deploy/agent.yaml", "--ignore-not-found")
	until(t, 2*time.Minute, func() error {
		if pods := l.kubectl(t, "-n", "kube-system", "get", "pods", "-o", "name"); strings.Contains(pods, "isthmus-") {
			return fmt.Errorf("still there: %s", pods)
		}
		return nil
	})
	t.Log(l.kubectl(t, "ko", "neutron", "cleanup", "--cluster", "lab", "--yes"))
	t.Log(l.kubectl(t, "ko", "cleanup", "--cluster", "lab", "--yes"))
	if ours := l.oursInOpenStack(t); len(ours) > 0 {
		t.Errorf("ours, but still there:\n%s", strings.Join(ours, "\n"))
	}
	if ours := neighbour.Ours(l.rows(t)); len(ours) > 0 {
		t.Errorf("ours, but still there:\n%s", strings.Join(ours, "\n"))
	}
	dir := filepath.Dir(l.variable("OS_CLIENT_CONFIG_FILE"))
	cmd := l.command(t.Context(), openstack.Config{Dir: dir}.SyncArgv("log")...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("compare Neutron with OVN: %v\n%s", err, said)
	}
	own := strings.Fields(l.run(t, "env", "OS_CLOUD=admin", "openstack", "port", "list", "--router", "router1", "-f", "value", "-c", "ID"))
	for line := range strings.Lines(string(said)) {
		bad := strings.Contains(line, " WARNING ") || strings.Contains(line, " ERROR ")
		if m := routerPort.FindStringSubmatch(line); bad && (m == nil || !slices.Contains(own, m[1])) {
			t.Errorf("Neutron finds in OVN what is none of its own: %s", line)
		}
	}
}

// routerPort is what Zed's tool says of each of Neutron's own ports on a router,
// also where Isthmus never was.
var routerPort = regexp.MustCompile(`Router Port port_id=(\S+) needs to be updated for networks changed`)

// oursInOpenStack lists what bears the cluster's mark, in all projects.
func (l *lab) oursInOpenStack(t *testing.T) []string {
	t.Helper()
	const mark = "isthmus-owner=lab"
	var found []string
	for _, kind := range []string{"network", "subnet", "port", "security group", "floating ip", "loadbalancer"} {
		argv := append(append([]string{"openstack"}, strings.Fields(kind)...), "list", "-f", "value", "-c", "ID")
		if kind == "loadbalancer" {
			argv[len(argv)-1] = "id"
		}
		for _, id := range strings.Fields(l.run(t, append(argv, "--tags", mark)...)) {
			found = append(found, kind+" "+id)
		}
	}
	for _, name := range strings.Fields(l.run(t, "openstack", "port", "list", "--device-owner", "compute:kuryr", "-f", "value", "-c", "ID")) {
		found = append(found, "port "+name)
	}
	return found
}
