//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// nested is the list of profile nested, where nodes are virtual machines.
func (l *lab) nested(t *testing.T) {
	t.Run("walk", l.walkNested)
	t.Run("pods of both machines reach each other and a Service", l.nestedReach)
	t.Run("nested pods come back when their machines are started anew", l.nestedReboot)
	t.Run("nested pods outlive agent and kubelet", l.nestedKills)
	t.Run("nested pods stay when their trunk is renamed", l.nestedRename)
	t.Run("pods of a Subnet of ours in virtual machines", l.nestedOwn)
	t.Run("bare-metal and nested nodes are one cluster", l.nestedMixed)
	t.Run("pods go with a node that is migrated", l.nestedMigrate)
	t.Run("200 nested pods come and go", l.nestedChurn)
	t.Run("a node that is deleted in OpenStack takes its ports along", l.nestedDeleted)
}

// nestedPair makes a namespace with a pod that serves a file in each virtual
// machine that is a node, "a" and "b".
func (l *lab) nestedPair(t *testing.T, namespace string) {
	t.Helper()
	l.apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", namespace))
	t.Cleanup(func() { l.kubectl(t, "delete", "namespace", namespace, "--timeout=150s") })
	l.apply(t, server(namespace, "a", "worker1")+server(namespace, "b", "worker2"))
	l.nestedReady(t, namespace+"/a", namespace+"/b")
}

func (l *lab) nestedReach(t *testing.T) {
	l.nestedPair(t, "nested")
	l.apply(t, service("nested", "both"))
	b, both := l.address(t, "nested/b"), l.clusterIP(t, "nested/both")
	for _, address := range []string{b, both} {
		until(t, 2*time.Minute, func() error { return l.serves(t, "nested/a", address) })
	}
}

// walkNested walks along the page of profile nested.
func (l *lab) walkNested(t *testing.T) {
	l.leaveNested(t)
	t.Cleanup(func() { l.leaveNested(t) })
	l.walk(t, "docs/kuryr-nested.md", nestedPatience)
}

// leaveNested takes away what the page and "make demo PROFILE=nested" make.
func (l *lab) leaveNested(t *testing.T) {
	t.Helper()
	l.kubectl(t, "delete", "service", "demo", "demo-outside", "--ignore-not-found")
	l.kubectl(t, "delete", "deployment", "demo", "--ignore-not-found")
	l.kubectl(t, "delete", "namespace", "ours", "--ignore-not-found", "--timeout=150s")
	l.kubectl(t, "delete", "subnet", "ours", "--ignore-not-found", "--timeout=100s")
}
