//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// nestedMigrate tests the live migration of a node that is a virtual machine, with pods on both
// fabrics.
func (l *lab) nestedMigrate(t *testing.T) {
	l.joinPodRouter(t, "goes-own", "12.0.8.0/24")
	l.namespace(t, "goes")
	l.apply(t, server("goes", "a", "worker1")+server("goes-own", "a", "worker1")+server("goes", "b", "worker2"))
	l.nestedReady(t, "goes/a", "goes-own/a", "goes/b")
	pods := []string{"goes/a", "goes-own/a"}
	for _, pod := range pods {
		until(t, time.Minute, func() error { return l.fetchPart(t, "goes/b", l.address(t, pod)) })
	}
	before := l.claimsOf(t, pods)
	l.migrateNode(t, "worker1", pods)
	if after := l.claimsOf(t, pods); after != before {
		t.Errorf("claims were\n%s\nand are\n%s", before, after)
	}
}

// claimsOf returns the names, UIDs and specs of the pods' claims as text.
func (l *lab) claimsOf(t *testing.T, pods []string) string {
	t.Helper()
	args := []string{"get", "ips", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.spec}{"\n"}{end}`}
	for _, pod := range pods {
		namespace, name, _ := strings.Cut(pod, "/")
		args = append(args, name+"."+namespace)
	}
	return l.kubectl(t, args...)
}

// migrateNode migrates a node to the other host and logs for how long its pods did not answer.
func (l *lab) migrateNode(t *testing.T, node string, pods []string) {
	port := l.run(t, "openstack", "port", "list", "--name", node, "-f", "value", "-c", "ID")
	bound := func() string {
		return strings.Trim(l.run(t, "ovn-nbctl", "get", "logical_switch_port", port, "options:requested-chassis"), `"`)
	}
	host := map[string]string{"node1": "node2", "node2": "node1"}[bound()]
	var outages []func() time.Duration
	for _, pod := range pods {
		outages = append(outages, l.startPing(t, l.address(t, pod)))
	}
	begin := time.Now()
	l.runNested(t, "isthmus-lab", "vm", "migrate", node, "--node", host)
	logTime(t, node+" was on "+host, begin)
	for i, pod := range pods {
		until(t, 2*time.Minute, func() error { return l.fetchPart(t, "goes/b", l.address(t, pod)) })
		t.Logf("%s was silent for %s", pod, outages[i]())
	}
	if at := bound(); at != host {
		t.Errorf("Neutron has the port on %s", at)
	}
}

// startPing starts to ping an address from the machine that is not a node. outage stops it and
// returns the longest time without an answer.
func (l *lab) startPing(t *testing.T, address string) (outage func() time.Duration) {
	t.Helper()
	const every = 200 * time.Millisecond
	output := "/tmp/ping-" + address
	pid := l.inMachine(t, machine, fmt.Sprintf("ping -i %v %s > %s 2>&1 & echo $!", every.Seconds(), address, output))
	until(t, time.Minute, func() error {
		_, err := l.try(t, "isthmus-lab", "exec", machine, "--", "grep", "-q", "seq=", output)
		return err
	})
	return func() time.Duration {
		last, most := 0, 0
		for _, m := range regexp.MustCompile(`seq=(\d+)`).FindAllStringSubmatch(l.inMachine(t, machine, "kill "+pid+"; cat "+output), -1) {
			seq, _ := strconv.Atoi(m[1])
			last, most = seq, max(most, seq-last)
		}
		return time.Duration(most) * every
	}
}
