//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/test/neighbour"
)

// machine is the virtual machine that is not a node.
const machine = "vm1"

// nestedOwn tests pods in virtual machines on a Subnet of fabric ovn, which Neutron does not
// know.
func (l *lab) nestedOwn(t *testing.T) {
	before := l.settledRows(t)
	begin := time.Now()
	l.joinPodRouter(t, "own", "12.0.7.0/24")
	l.apply(t, server("own", "a", "worker1")+server("own", "b", "worker2"))
	l.nestedReady(t, "own/a", "own/b")
	a, b, vm := l.address(t, "own/a"), l.address(t, "own/b"), l.fixedIP(t, machine)
	for pod, node := range map[string]string{"a": "worker1", "b": "worker2"} {
		l.checkVLAN(t, pod+".own", node)
	}
	until(t, 2*time.Minute, func() error { return l.fetchPart(t, "own/a", b) })
	until(t, 2*time.Minute, func() error { return l.fetchPart(t, "own/b", a) })
	for _, pod := range []string{"own/a", "own/b"} {
		l.inPod(t, pod, "ping -c 2 -W 10 "+vm)
		l.run(t, "isthmus-lab", "exec", machine, "--", "ping", "-c", "2", "-W", "10", l.address(t, pod))
	}
	logTime(t, "pods had reached each other and the machine", begin)
	t.Run("a user's subport takes the VLAN id", l.vlanTaken)
	l.leavePodRouter(t, "own")
	l.checkRemoved(t, "own")
	until(t, time.Minute, func() error {
		if diff := cmp.Diff(before, neighbour.Foreign(l.rows(t))); diff != "" {
			return fmt.Errorf("Neutron's rows, -before +after:\n%s", diff)
		}
		return nil
	})
	logTime(t, "nothing was left", begin)
}

// settledRows returns Neutron's rows once they have not changed for 15 s. Before, ports of deleted
// pods may still return to the port pool.
func (l *lab) settledRows(t *testing.T) []string {
	t.Helper()
	var rows []string
	changed := time.Now()
	until(t, 3*time.Minute, func() error {
		now := neighbour.Foreign(l.rows(t))
		if diff := cmp.Diff(rows, now); diff != "" {
			rows, changed = now, time.Now()
		}
		if time.Since(changed) < 15*time.Second {
			return errors.New("Neutron's rows change")
		}
		return nil
	})
	return rows
}

// checkVLAN fails the test unless a claim and its port in OVN are a VLAN on the node's parent port.
func (l *lab) checkVLAN(t *testing.T, claim, node string) {
	t.Helper()
	words := strings.Fields(l.run(t, "openstack", "port", "list", "--name", node, "-f", "value", "-c", "ID", "-c", "MAC Address"))
	if len(words) != 2 {
		t.Fatalf("ports of %s: %q", node, words)
	}
	attach := l.kubectl(t, "get", "ip", claim, "-o", "jsonpath={.spec.attach.vlan.parent} {.spec.attach.vlan.tag}")
	if want := words[1] + " " + l.tagOf(t, claim); attach != want || l.tagOf(t, claim) == "" {
		t.Errorf("claim %s says %q, not %q", claim, attach, want)
	}
	row := l.run(t, "ovn-nbctl", "--bare", "--columns=parent_name,tag", "find", "logical_switch_port", "name="+claim)
	if want := words[0] + "\n" + l.tagOf(t, claim); row != want {
		t.Errorf("in OVN the port %s has %q, not %q", claim, row, want)
	}
}

func (l *lab) tagOf(t *testing.T, claim string) string {
	t.Helper()
	return l.kubectl(t, "get", "ip", claim, "-o", "jsonpath={.spec.attach.vlan.tag}")
}

// vlanTaken creates a subport in Neutron with the VLAN id of one of our pods, which Neutron does not
// know. The pod must get another VLAN id and answer again.
func (l *lab) vlanTaken(t *testing.T) {
	tag, b := l.tagOf(t, "b.own"), l.address(t, "own/b")
	port := l.tenant(t, "port", "create", "--network", "private", "theirs", "-f", "value", "-c", "id")[0]
	t.Cleanup(func() {
		l.tenant(t, "network", "trunk", "unset", "--subport", port, "worker2")
		l.tenant(t, "port", "delete", port)
	})
	begin := time.Now()
	l.tenant(t, "network", "trunk", "set", "--subport", "port="+port+",segmentation-type=vlan,segmentation-id="+tag, "worker2")
	until(t, time.Minute, func() error {
		if now := l.tagOf(t, "b.own"); now == tag {
			return errors.New("the pod still has the VLAN id of Neutron's port")
		}
		return nil
	})
	until(t, 2*time.Minute, func() error {
		_, err := l.try(t, podArgv("own/a", "ping -c 1 -W 2 "+b)...)
		return err
	})
	t.Logf("the pod had VLAN id %s and answered with id %s %.1f s after that was asked of Neutron", tag, l.tagOf(t, "b.own"), time.Since(begin).Seconds())
	l.checkVLAN(t, "b.own", "worker2")
	until(t, time.Minute, func() error {
		messages := l.kubectl(t, "-n", "own", "get", "events", "--field-selector", "reason=VLANMoved,involvedObject.name=b", "-o", "jsonpath={.items[*].message}")
		if !strings.Contains(messages, "not "+tag) {
			return fmt.Errorf("the pod's events say %q", messages)
		}
		return nil
	})
}
