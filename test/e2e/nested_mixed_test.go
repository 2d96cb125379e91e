//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// hostNode is the host that is a node after "isthmus-lab up --mixed".
const hostNode = "node2"

// nestedMixed tests a cluster of a node that is a host and nodes that are virtual machines, on
// both fabrics.
func (l *lab) nestedMixed(t *testing.T) {
	begin := time.Now()
	l.addHostNode(t)
	l.joinPodRouter(t, "mixed-own", "12.0.6.0/24")
	l.namespace(t, "mixed")
	for _, namespace := range []string{"mixed", "mixed-own"} {
		l.apply(t, greeter(namespace, "a", "worker1")+greeter(namespace, "b", hostNode)+service(namespace, "both"))
	}
	for _, namespace := range []string{"mixed", "mixed-own"} {
		l.nestedReady(t, namespace+"/a", namespace+"/b")
		t.Run(namespace, func(t *testing.T) { l.oneCluster(t, namespace) })
	}
	logTime(t, "all had reached each other", begin)
	if claims := l.kubectl(t, "get", "ips", "node-worker1", "node-worker2", "--ignore-not-found", "-o", "name"); claims != "" {
		t.Errorf("virtual machines have what only other nodes need: %s", claims)
	}
}

// oneCluster tests that pods "a" in a virtual machine and "b" on a host reach each other, and
// that both answer behind the Service.
func (l *lab) oneCluster(t *testing.T, namespace string) {
	a, b, both := namespace+"/a", namespace+"/b", l.clusterIP(t, namespace+"/both")
	plugs := func(pod string) string {
		return l.kubectl(t, "get", "ip", strings.ReplaceAll(pod, namespace+"/", "")+"."+namespace, "-o", "jsonpath={.spec.attach.ovs.ifaceID}/{.spec.attach.vlan.parent}")
	}
	if inVM, onHost := plugs(a), plugs(b); !strings.HasPrefix(inVM, "/") || !strings.HasSuffix(onHost, "/") {
		t.Errorf("the pods are plugged by %s and %s", inVM, onHost)
	}
	for from, to := range map[string]string{a: b, b: a} {
		until(t, time.Minute, func() error {
			_, err := l.try(t, podArgv(from, "curl http://"+l.address(t, to))...)
			return err
		})
	}
	for _, from := range []string{a, b} {
		until(t, 2*time.Minute, func() error {
			output, err := l.try(t, podArgv(from, "for i in 1 2 3 4 5 6 7 8; do curl http://"+both+"; done")...)
			answered := func(pod string) bool { return strings.Contains(output, pod+": HELLO") }
			if err == nil && (!answered("a") || !answered("b")) {
				err = fmt.Errorf("%s heard of the Service:\n%s", from, output)
			}
			return err
		})
	}
}

// greeter returns the manifest of a pod on a node that answers with its name over HTTP.
func greeter(namespace, name, node string) string {
	return pod(namespace, name, node, "localhost/isthmus-demo:1", "[hello, tcp/80]")
}

// addHostNode makes a host a node, if it is not one yet.
func (l *lab) addHostNode(t *testing.T) {
	t.Helper()
	begin := time.Now()
	l.runNested(t, "isthmus-lab", "up", "--mixed")
	logTime(t, hostNode+" was a node", begin)
	nodes := strings.Fields(l.kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))
	if slices.Sort(nodes); !slices.Equal(nodes, []string{hostNode, "worker1", "worker2"}) {
		t.Errorf("nodes are %q", nodes)
	}
}

// runNested is run for commands that take longer when nodes are virtual machines.
func (l *lab) runNested(t *testing.T, argv ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), nestedTimeout)
	defer cancel()
	if output, err := l.command(ctx, argv...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, output)
	}
}

// joinPodRouter creates a namespace and a Subnet of fabric ovn with the same name, on the Neutron
// router of the pods' network.
func (l *lab) joinPodRouter(t *testing.T, name, cidr string) {
	t.Helper()
	l.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: %[1]s}
spec: {provider: ovn, vpc: %[2]s, namespaces: [%[1]s], cidrBlock: %[3]s}
`, name, l.vpc(t), cidr))
	t.Cleanup(func() {
		for _, kind := range []string{"namespace", "subnet"} { // the Subnet is removed after its last pod
			l.kubectl(t, "delete", kind, name, "--ignore-not-found", "--wait=false")
		}
	})
	l.kubectl(t, "wait", "--for=condition=Ready", "subnet/"+name, "--timeout=60s")
}

// leavePodRouter deletes the namespace and Subnet of joinPodRouter, and all pods there.
func (l *lab) leavePodRouter(t *testing.T, name string) {
	t.Helper()
	l.kubectl(t, "delete", "namespace", name, "--ignore-not-found", "--timeout=150s")
	l.kubectl(t, "delete", "subnet", name, "--ignore-not-found", "--timeout=100s")
}
