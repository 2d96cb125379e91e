//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/test/neighbour"
)

// guest is the virtual machine that the lab creates in profile shared-ovn.
const guest = "provider-instance"

// router returns the name of the Vpc of Neutron's router0.
func (l *lab) router(t *testing.T) string {
	t.Helper()
	return "neutron-" + l.run(t, "openstack", "router", "show", "router0", "-f", "value", "-c", "id")
}

// guestAddress returns the address of guest.
func (l *lab) guestAddress(t *testing.T) string {
	t.Helper()
	return l.fixedIP(t, guest)
}

// fixedIP returns the address of a machine. Its port has the machine's name.
func (l *lab) fixedIP(t *testing.T, name string) string {
	t.Helper()
	out := l.run(t, "openstack", "port", "list", "--name", name, "-f", "value", "-c", "Fixed IP Addresses")
	_, address, _ := strings.Cut(out, "'ip_address': '")
	address, _, ok := strings.Cut(address, "'")
	if !ok {
		t.Fatalf("port %s has no address: %s", name, out)
	}
	return address
}

// join creates a namespace and a Subnet with the same name on Neutron's router.
func (l *lab) join(t *testing.T, name, cidr string) {
	t.Helper()
	router := l.router(t)
	l.apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", name))
	l.kubectl(t, "patch", "vpc", router, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"namespaces":["%s"]}}`, name))
	l.apply(t, fmt.Sprintf(`
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: %[1]s}
spec: {vpc: %[2]s, namespaces: [%[1]s], cidrBlock: %[3]s}
`, name, router, cidr))
	l.kubectl(t, "wait", "--for=condition=Ready", "subnet/"+name, "--timeout=60s")
}

// leave undoes join, in the order of section Uninstall of the document.
func (l *lab) leave(t *testing.T, name string) {
	t.Helper()
	l.kubectl(t, "-n", name, "delete", "deployments,pods", "--all", "--grace-period=1")
	l.kubectl(t, "delete", "namespace", name, "--ignore-not-found")
	l.kubectl(t, "delete", "subnet", name, "--ignore-not-found", "--timeout=60s")
	l.kubectl(t, "patch", "vpc", l.router(t), "--type=merge", "-p", `{"spec":{"namespaces":[]}}`)
}

// many returns the manifest of a Deployment whose pods only sleep.
func many(namespace string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: %s, name: many}
spec:
  replicas: %d
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: main, image: "localhost/isthmus-tools:1", command: [sleep, "604800"]}
`, namespace, replicas)
}

// addresses returns the addresses of a namespace's pods.
func (l *lab) addresses(t *testing.T, namespace string) []string {
	t.Helper()
	return strings.Fields(l.kubectl(t, "-n", namespace, "get", "pods", "-o", "jsonpath={.items[*].status.podIP}"))
}

func (l *lab) fifty(t *testing.T) {
	const pods = 50
	l.join(t, "fifty", "10.50.0.0/24")
	l.apply(t, many("fifty", pods))
	begin := time.Now()
	l.kubectl(t, "-n", "fifty", "rollout", "status", "deployment/many", "--timeout=170s")
	t.Logf("%d pods on Neutron's router were ready after %.1f s", pods, time.Since(begin).Seconds())
	addresses := l.addresses(t, "fifty")
	slices.Sort(addresses)
	if unique := slices.Compact(slices.Clone(addresses)); len(unique) != pods {
		t.Errorf("%d pods have %d addresses: %q", pods, len(unique), addresses)
	}
	names := strings.Fields(l.kubectl(t, "-n", "fifty", "get", "pods", "-o", "jsonpath={.items[*].metadata.name}"))
	vm := l.guestAddress(t)
	for _, name := range []string{names[0], names[len(names)-1]} {
		l.inPod(t, "fifty/"+name, "ping -c 2 -W 5 "+vm)
	}
	l.leave(t, "fifty")
	l.checkRemoved(t, "fifty")
}

// checkRemoved fails the test unless OVN and Kubernetes have nothing of a namespace and its Subnet.
func (l *lab) checkRemoved(t *testing.T, name string) {
	t.Helper()
	until(t, 10*time.Second, func() error {
		for _, row := range neighbour.Ours(l.rows(t)) {
			if strings.Contains(row, "/"+name+" ") || strings.Contains(row, "/"+name+"/") {
				return fmt.Errorf("left in OVN: %s", row)
			}
		}
		if ips := l.kubectl(t, "get", "ips", "-l", "ovn.kubernetes.io/subnet="+name, "-o", "name"); ips != "" {
			return fmt.Errorf("left in Kubernetes: %s", ips)
		}
		return nil
	})
}

// restoreTime is the time within which a row of ours that others removed is restored. README.md states
// it.
const restoreTime = time.Second

// restored removes rows of ours and fails the test unless the controller restores each in time.
func (l *lab) restored(t *testing.T) {
	l.join(t, "restored", "10.61.0.0/24")
	t.Cleanup(func() { l.leave(t, "restored") })
	l.apply(t, server("restored", "a", "node1"))
	l.ready(t, "restored/a")
	for _, row := range l.rows(t) {
		name, _ := row.Columns["name"].(string)
		remove := map[string]string{"Logical_Switch_Port": "lsp-del", "Logical_Router_Port": "lrp-del"}[row.Table]
		if row.Owner() == "" || remove == "" || !strings.Contains(row.Name(), "/restored") {
			continue
		}
		l.run(t, "ovn-nbctl", remove, name)
		removed := time.Now()
		l.run(t, "ovn-nbctl", "--timeout=60", "wait-until", row.Table, name)
		logTime(t, row.Name()+" was back", removed)
		if after := time.Since(removed); after > restoreTime {
			t.Errorf("%s was back after %s, want %s", row.Name(), after, restoreTime)
		}
	}
	l.inPod(t, "restored/a", "ping -c 2 -W 5 "+l.guestAddress(t))
}

// repair removes a row of Neutron's and runs Neutron's repair. The repair deletes our router port
// and port groups, and the controller must restore them within 2 s.
func (l *lab) repair(t *testing.T) {
	l.join(t, "repair", "10.60.0.0/24")
	t.Cleanup(func() { l.leave(t, "repair") })
	l.apply(t, server("repair", "a", "node1"))
	l.ready(t, "repair/a")
	vm, router := l.guestAddress(t), l.router(t)
	l.inPod(t, "repair/a", "ping -c 2 -W 5 "+vm)

	const route = "10.99.0.0/24"
	l.run(t, "openstack", "router", "set", "router0", "--route", "destination="+route+",gateway="+vm)
	t.Cleanup(func() {
		l.run(t, "openstack", "router", "unset", "router0", "--route", "destination="+route+",gateway="+vm)
	})
	l.run(t, "ovn-nbctl", "lr-route-del", router, route)
	ours := neighbour.Ours(l.rows(t))

	dir := filepath.Dir(l.variable("OS_CLIENT_CONFIG_FILE"))
	l.run(t, openstack.Config{Dir: dir}.SyncArgv("repair")...)
	until(t, 2*time.Second, func() error {
		if diff := cmp.Diff(ours, neighbour.Ours(l.rows(t))); diff != "" {
			return fmt.Errorf("our rows, -before +after the repair:\n%s", diff)
		}
		return nil
	})
	if routes := l.run(t, "ovn-nbctl", "lr-route-list", router); !strings.Contains(routes, route) {
		t.Errorf("Neutron did not mend its route %s:\n%s", route, routes)
	}
	l.inPod(t, "repair/a", "ping -c 2 -W 5 "+vm)
}
