//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// joinedBalancers tests that OpenStack's own load balancers on router1 can be created, changed
// and deleted while fabric ovn has a port on that router. Pods on the Subnet of fabric ovn are
// among their clients.
func (l *lab) joinedBalancers(t *testing.T) {
	l.pair(t, "joined")
	l.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: beside}
---
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: beside}
spec: {provider: ovn, vpc: %s, namespaces: [beside], cidrBlock: 12.0.5.0/24}
`, l.vpc(t)))
	t.Cleanup(func() {
		l.kubectl(t, "delete", "namespace", "beside", "--timeout=150s")
		l.kubectl(t, "delete", "subnet", "beside", "--timeout=100s")
	})
	l.kubectl(t, "wait", "--for=condition=Ready", "subnet/beside", "--timeout=60s")
	l.apply(t, server("beside", "client", "node2"))
	l.ready(t, "beside/client")

	l.outsideReaches(t, "joined")

	const name, pool = "e2e-own", "e2e-own-pool"
	t.Cleanup(func() {
		_, _ = l.try(t, "env", "OS_CLOUD=k8s", "openstack", "loadbalancer", "delete", "--cascade", name)
	})
	vip := l.tenant(t, "loadbalancer", "create", "--name", name, "--provider", "ovn", "--vip-subnet-id", "private-subnet", "--wait",
		"-f", "value", "-c", "vip_address")[0]
	l.tenant(t, "loadbalancer", "listener", "create", "--name", name+"-80", "--protocol", "TCP", "--protocol-port", "80", "--wait", name)
	l.tenant(t, "loadbalancer", "pool", "create", "--name", pool, "--protocol", "TCP", "--lb-algorithm", "SOURCE_IP_PORT", "--listener", name+"-80", "--wait")
	add := func(pod string) {
		l.tenant(t, "loadbalancer", "member", "create", "--name", pod, "--address", l.address(t, "joined/"+pod), "--protocol-port", "80",
			"--subnet-id", "k8s-pod-net-IPv4", "--wait", pool)
	}
	reached := func() {
		t.Helper()
		until(t, time.Minute, func() error { return l.fetchFile(t, "joined/b", vip) })
		until(t, time.Minute, func() error { return l.fetchFile(t, "beside/client", vip) })
	}
	add("a")
	reached()
	add("b")
	l.tenant(t, "loadbalancer", "member", "set", "--name", "first", "--wait", pool, "a")
	reached()
	l.tenant(t, "loadbalancer", "member", "delete", "--wait", pool, "first")
	reached()
	l.tenant(t, "loadbalancer", "delete", "--cascade", "--wait", name)
	if err := l.fetchFile(t, "beside/client", l.address(t, "joined/a")); err != nil {
		t.Error(err)
	}
}

// outsideReaches tests that a Service's floating IP answers, although Octavia takes our port on
// the router for one of an internal network.
func (l *lab) outsideReaches(t *testing.T, namespace string) {
	t.Helper()
	l.apply(t, strings.Replace(service(namespace, "outside"), "spec: {", "spec: {type: LoadBalancer, ", 1))
	l.kubectl(t, "-n", namespace, "wait", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}", "service/outside", "--timeout=120s")
	floating := l.kubectl(t, "-n", namespace, "get", "service", "outside", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	until(t, time.Minute, func() error {
		out, err := l.try(t, "isthmus-lab", "exec", "outside", "--", "busybox", "sh", "-c", fetch(floating))
		if err == nil && strings.TrimSpace(out) != fmt.Sprint(megabytes<<20) {
			err = fmt.Errorf("got %s bytes", strings.TrimSpace(out))
		}
		return err
	})
}
