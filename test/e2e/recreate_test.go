//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// resyncTimeout is for changes in OpenStack, which sends no events. The controller reads its
// state once a minute.
const resyncTimeout = 4 * time.Minute

// forgets tests that a port, a load balancer and a member that another user deletes are created
// again, all three at the same time, and that their users work again.
func (l *lab) forgets(t *testing.T) {
	l.pair(t, "forgets")
	l.apply(t, service("forgets", "third"))
	l.waitLoadBalancer(t, "forgets/third")
	inParallel(t,
		test{"port", l.portComesBack},
		test{"load balancer", func(t *testing.T) {
			l.deleteFromLoadBalancer(t, "delete", "--cascade", "--wait", "forgets/both")
			until(t, resyncTimeout, func() error { return l.fetchFile(t, "forgets/b", l.clusterIP(t, "forgets/both")) })
		}},
		test{"member", l.memberComesBack},
	)
	for _, name := range []string{"both", "third"} {
		until(t, time.Minute, func() error { return l.fetchFile(t, "forgets/a", l.clusterIP(t, "forgets/"+name)) })
	}
}

// portComesBack deletes a pod's port and expects a new one with the same address.
func (l *lab) portComesBack(t *testing.T) {
	a := l.address(t, "forgets/a")
	var before string
	untilCloud(t, time.Minute, func() (err error) { before, err = l.portOf(t, "forgets/a"); return err })
	l.tenant(t, "port", "delete", before)
	until(t, resyncTimeout, func() error {
		if now := l.kubectl(t, "get", "ip", "a.forgets", "--ignore-not-found", "-o", "jsonpath={.spec.attach.ovs.ifaceID}"); now == "" || now == before {
			return fmt.Errorf("the claim names port %q", now)
		}
		return l.fetchFile(t, "forgets/b", a)
	})
	untilCloud(t, time.Minute, func() error {
		now, err := l.portOf(t, "forgets/a")
		if err == nil && now == before {
			err = errors.New("the port is still there")
		}
		return err
	})
	if now := l.address(t, "forgets/a"); now != a {
		t.Errorf("the pod had address %s, and now %s", a, now)
	}
}

// memberComesBack deletes a member of a Service's load balancer pool and expects a new one.
func (l *lab) memberComesBack(t *testing.T) {
	const pool = "forgets/third:TCP:80"
	members := l.tenant(t, "loadbalancer", "member", "list", pool, "-f", "value", "-c", "id")
	if len(members) != 2 {
		t.Fatalf("the pool has members %q", members)
	}
	l.deleteFromLoadBalancer(t, "member", "delete", pool, members[0])
	untilCloud(t, resyncTimeout, func() error {
		now := l.tenant(t, "loadbalancer", "member", "list", pool, "-f", "value", "-c", "id", "-c", "provisioning_status")
		if len(now) != 4 || strings.Contains(strings.Join(now, " "), members[0]) {
			return fmt.Errorf("the pool has members %q", now)
		}
		return nil
	})
}

// deleteFromLoadBalancer runs "openstack loadbalancer" with args to delete a part of a load balancer. It
// repeats the command, because Octavia refuses it while Isthmus changes the load balancer.
func (l *lab) deleteFromLoadBalancer(t *testing.T, args ...string) {
	t.Helper()
	untilCloud(t, time.Minute, func() error {
		_, err := l.try(t, append([]string{"env", "OS_CLOUD=k8s", "openstack", "loadbalancer"}, args...)...)
		return err
	})
}

// restart kills the daemons twice. Running pods must lose no packets, and pods that are created
// meanwhile must become ready.
func (l *lab) restart(t *testing.T) {
	l.conclusive(t, l.restarted)
}

func (l *lab) restarted(t *testing.T) (inconclusive bool) {
	l.pair(t, "restart")
	b := l.address(t, "restart/b")
	lost := l.pingDuring(t, "restart/a", b, func() {
		l.apply(t, many("restart", 6))
		for range 2 {
			for program := range running {
				l.killDaemons(t, program)
			}
			l.kubectl(t, "-n", "restart", "scale", "deployment/many", "--replicas=8")
			l.kubectl(t, "-n", "restart", "rollout", "status", "deployment/many", "--timeout=170s")
		}
	})
	l.rolledOut(t)
	l.kubectl(t, "-n", "restart", "scale", "deployment/many", "--replicas=3")
	untilCloud(t, 3*time.Minute, func() error { return l.checkPorts(t, "restart") })
	return lost.check(t, "from pod to pod")
}

// withoutCloud kills the APIs of Neutron and Octavia. Running pods must lose no packets, their
// NetworkPolicies must hold, and a new pod must get a ready port of the port pool. When the
// APIs are back, the changes made meanwhile must take effect.
func (l *lab) withoutCloud(t *testing.T, s *policyWorld) {
	l.conclusive(t, func(t *testing.T) bool { return l.cloudKilled(t, s) })
}

func (l *lab) cloudKilled(t *testing.T, s *policyWorld) (inconclusive bool) {
	l.pair(t, "without")
	both, b := l.clusterIP(t, "without/both"), l.address(t, "without/b")
	clients := s.applyOnlyClients(t, "")
	s.await(t, clients)
	lost := l.pingDuring(t, "without/a", b, func() {
		t.Cleanup(func() { l.run(t, "isthmus-lab", "up") })
		for _, api := range []string{"neutron", "octavia"} {
			l.run(t, "isthmus-lab", "kill", api)
		}
		l.apply(t, server("without", "pooled", "node1")+service("without", "later"))
		s.label(t, "b/client", "late=yes", "late-")
		l.ready(t, "without/pooled")
		for _, address := range []string{b, both} {
			until(t, time.Minute, func() error { return l.fetchFile(t, "without/pooled", address) })
		}
		s.await(t, clients)
		for _, api := range []string{"neutron", "octavia"} {
			l.run(t, "isthmus-lab", "start", api)
		}
	})
	later := l.clusterIP(t, "without/later")
	inParallel(t,
		test{"a Service that was made meanwhile answers", func(t *testing.T) {
			until(t, resyncTimeout, func() error { return l.fetchFile(t, "without/a", later) })
			untilCloud(t, 3*time.Minute, func() error { return l.checkPorts(t, "without") })
		}},
		test{"policies hold, with a pod that was labelled meanwhile", func(t *testing.T) {
			s.await(t, clients)
			s.checkLateLabel(t, clients)
		}},
	)
	return lost.check(t, "from pod to pod")
}
