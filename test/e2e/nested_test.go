//go:build e2e

package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// nested runs the tests of profile nested, in which nodes are virtual machines.
func (l *lab) nested(t *testing.T) {
	t.Run("walk", l.walkNested)
	t.Run("nested pods", l.nestedPods)
	t.Run("pods of a Subnet of ours in virtual machines", l.nestedOwn)
	t.Run("bare-metal and nested nodes are one cluster", l.nestedMixed)
	t.Run("pods go with a node that is migrated", l.nestedMigrate)
	t.Run("trunks", l.nestedTrunks)
}

// nestedTrunks fills and empties the trunk of worker1 while worker2 is deleted and created
// again. They run in parallel because each uses another host.
func (l *lab) nestedTrunks(t *testing.T) {
	foreign, before := l.addForeignSubports(t, "worker1"), l.onMachine(t, "worker1")
	var neutron sync.Mutex // held by the test that needs Neutron or kills it
	inParallel(t,
		test{"200 nested pods come and go", func(t *testing.T) { l.nestedChurn(t, &neutron, foreign, before) }},
		test{"a node that is deleted in OpenStack takes its ports along", func(t *testing.T) {
			neutron.Lock()
			defer neutron.Unlock()
			l.nestedDeleted(t)
		}},
	)
}

// nestedPods runs the tests of one pair of pods and their Service.
func (l *lab) nestedPods(t *testing.T) {
	l.nestedPair(t, pair)
	l.apply(t, service(pair, "both"))
	t.Run("reach each other and a Service", l.nestedReach)
	t.Run("outlive agent and kubelet", l.nestedKills)
	t.Run("stay when their trunk is renamed", l.nestedRename)
	t.Run("come back when their machines are started anew", l.nestedReboot)
}

// pair is the namespace of the pods of nestedPods: "a" on worker1 and "b" on worker2.
const pair = "nested"

// nestedPair creates a namespace with two pods that serve a file: "a" on worker1 and "b" on
// worker2.
func (l *lab) nestedPair(t *testing.T, namespace string) {
	t.Helper()
	l.namespace(t, namespace)
	l.apply(t, server(namespace, "a", "worker1")+server(namespace, "b", "worker2"))
	l.nestedReady(t, namespace+"/a", namespace+"/b")
}

// namespace creates a namespace and deletes it when the test ends. It does not wait for the
// deletion, because a kubelet in a virtual machine is slow.
func (l *lab) namespace(t *testing.T, name string) {
	t.Helper()
	l.apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", name))
	t.Cleanup(func() { l.kubectl(t, "delete", "namespace", name, "--ignore-not-found", "--wait=false") })
}

// addPod creates a pod in the pair's namespace and deletes it when the test ends.
func (l *lab) addPod(t *testing.T, name, node string) {
	t.Helper()
	l.apply(t, server(pair, name, node))
	t.Cleanup(func() { l.kubectl(t, "-n", pair, "delete", "pod", name, "--wait=false") })
}

func (l *lab) nestedReach(t *testing.T) {
	for _, address := range []string{l.address(t, pair+"/b"), l.clusterIP(t, pair+"/both")} {
		until(t, 2*time.Minute, func() error { return l.fetchFile(t, pair+"/a", address) })
	}
}

// walkNested runs the walkthrough of profile nested.
func (l *lab) walkNested(t *testing.T) {
	l.deleteNestedDemo(t)
	t.Cleanup(func() { l.deleteNestedDemo(t) })
	l.walk(t, "docs/kuryr-nested.md", nestedTimeout)
}

// deleteNestedDemo deletes the objects of the walkthrough and of "make demo PROFILE=nested".
func (l *lab) deleteNestedDemo(t *testing.T) {
	t.Helper()
	l.kubectl(t, "delete", "service", "demo", "demo-outside", "--ignore-not-found")
	l.kubectl(t, "delete", "deployment", "demo", "--ignore-not-found")
	l.kubectl(t, "delete", "namespace", "ours", "--ignore-not-found", "--timeout=150s")
	l.kubectl(t, "delete", "subnet", "ours", "--ignore-not-found", "--timeout=100s")
}
