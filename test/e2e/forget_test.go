//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// nobodyTells is how long something may be gone that OpenStack tells nobody of:
// it is looked at once a minute.
const nobodyTells = 4 * time.Minute

// forgets: a port, a load balancer and a member that somebody deletes behind
// our back come back, and those who use them go on.
func (l *lab) forgets(t *testing.T) {
	l.pair(t, "forgets")
	a, both := l.address(t, "forgets/a"), l.clusterIP(t, "forgets/both")
	var before string
	until(t, time.Minute, func() (err error) { before, err = l.portOf(t, "forgets/a"); return err })
	l.tenant(t, "port", "delete", before)
	until(t, nobodyTells, func() error {
		now, err := l.portOf(t, "forgets/a")
		if err == nil && now == before {
			err = errors.New("the port is still there")
		}
		if err == nil {
			err = l.serves(t, "forgets/b", a)
		}
		return err
	})
	if now := l.address(t, "forgets/a"); now != a {
		t.Errorf("the pod had address %s, and now %s", a, now)
	}
	until(t, time.Minute, func() error { return l.serves(t, "forgets/a", both) })

	l.unbalance(t, "delete", "--cascade", "--wait", "forgets/both")
	until(t, nobodyTells, func() error { return l.serves(t, "forgets/a", both) })

	const pool = "forgets/both:TCP:80"
	members := l.tenant(t, "loadbalancer", "member", "list", pool, "-f", "value", "-c", "id")
	if len(members) != 2 {
		t.Fatalf("the pool has members %q", members)
	}
	l.unbalance(t, "member", "delete", pool, members[0])
	until(t, nobodyTells, func() error {
		now := l.tenant(t, "loadbalancer", "member", "list", pool, "-f", "value", "-c", "id", "-c", "provisioning_status")
		if len(now) != 4 || strings.Contains(strings.Join(now, " "), members[0]) {
			return fmt.Errorf("the pool has members %q", now)
		}
		return nil
	})
}

// unbalance takes something of a load balancer away, as soon as we do not change
// it: Octavia refuses it until then.
func (l *lab) unbalance(t *testing.T, args ...string) {
	t.Helper()
	until(t, time.Minute, func() error {
		_, err := l.try(t, append([]string{"env", "OS_CLOUD=k8s", "openstack", "loadbalancer"}, args...)...)
		return err
	})
}

// restart kills the daemons, twice. Pods that run lose nothing, and pods that are made
// meanwhile become ready.
func (l *lab) restart(t *testing.T) {
	l.conclusive(t, l.restarted)
}

func (l *lab) restarted(t *testing.T) (inconclusive bool) {
	l.pair(t, "restart")
	b := l.address(t, "restart/b")
	lost := l.watched(t, "restart/a", b, func() {
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
	until(t, 3*time.Minute, func() error { return l.accounted(t, "restart") })
	return lost.judge(t, "from pod to pod")
}

// withoutCloud kills the APIs of Neutron and Octavia. Pods that run lose nothing, a new
// pod gets a port of the pool, and a Service that was made meanwhile works afterwards.
func (l *lab) withoutCloud(t *testing.T) {
	l.conclusive(t, l.cloudKilled)
}

func (l *lab) cloudKilled(t *testing.T) (inconclusive bool) {
	l.pair(t, "without")
	both := l.clusterIP(t, "without/both")
	b := l.address(t, "without/b")
	lost := l.watched(t, "without/a", b, func() {
		t.Cleanup(func() { l.run(t, "isthmus-lab", "up") })
		for _, api := range []string{"neutron", "octavia"} {
			l.run(t, "isthmus-lab", "kill", api)
		}
		l.apply(t, server("without", "pooled", "node1"))
		l.ready(t, "without/pooled")
		for _, address := range []string{b, both} {
			until(t, time.Minute, func() error { return l.serves(t, "without/pooled", address) })
		}
		l.apply(t, service("without", "later"))
		for _, api := range []string{"neutron", "octavia"} {
			l.run(t, "isthmus-lab", "start", api)
		}
	})
	later := l.clusterIP(t, "without/later")
	until(t, nobodyTells, func() error { return l.serves(t, "without/a", later) })
	until(t, 3*time.Minute, func() error { return l.accounted(t, "without") })
	return lost.judge(t, "from pod to pod")
}
