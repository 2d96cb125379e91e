//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// nestedTimeout is the time limit of work in a virtual machine without hardware acceleration. It
// takes seconds on an idle host.
const nestedTimeout = 6 * time.Minute

// nestedReady waits until pods in virtual machines are ready.
func (l *lab) nestedReady(t *testing.T, pods ...string) {
	t.Helper()
	for _, pod := range pods {
		namespace, name, _ := strings.Cut(pod, "/")
		until(t, nestedTimeout, func() error {
			_, err := l.try(t, "kubectl", "-n", namespace, "wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
			return err
		})
	}
}

// logTime logs the time since an event.
func logTime(t *testing.T, what string, since time.Time) {
	t.Helper()
	t.Logf("%s after %.1f s", what, time.Since(since).Seconds())
}

// fetchPart returns nil if a pod gets the first 64 KiB of the file from an address. That suffices
// to reveal a wrong MTU. The whole file takes long on a busy machine.
func (l *lab) fetchPart(t *testing.T, pod, address string) error {
	t.Helper()
	const enough = 1 << 16
	out, err := l.try(t, podArgv(pod, fmt.Sprintf("timeout 60 wget -q -O - http://%s/big | head -c %d | wc -c", address, enough))...)
	if err == nil && strings.TrimSpace(out) != fmt.Sprint(enough) {
		err = fmt.Errorf("pod %s got %s bytes from %s", pod, strings.TrimSpace(out), address)
	}
	return err
}

// runParallel runs lists of isthmus-lab commands in parallel, one list for each virtual machine.
func (l *lab) runParallel(t *testing.T, machines ...[]string) {
	t.Helper()
	var all sync.WaitGroup
	for _, commands := range machines {
		all.Go(func() {
			for _, c := range commands {
				if _, err := l.try(t, append([]string{"isthmus-lab"}, strings.Fields(c)...)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// nestedReboot reboots one machine while it powers the other off and on. Their pods must return
// with the same addresses, and their network and that of new pods must work.
func (l *lab) nestedReboot(t *testing.T) {
	a, b, both := l.address(t, pair+"/a"), l.address(t, pair+"/b"), l.clusterIP(t, pair+"/both")
	began := time.Now()
	l.runParallel(t, []string{"vm reboot worker1"}, []string{"vm poweroff worker2", "vm start worker2"})
	logTime(t, "both machines had their addresses", began)
	until(t, nestedTimeout, func() error { return l.fetchPart(t, pair+"/a", b) })
	until(t, nestedTimeout, func() error { return l.fetchPart(t, pair+"/b", a) })
	logTime(t, "pods of both reached each other", began)
	if now := l.address(t, pair+"/a") + " " + l.address(t, pair+"/b"); now != a+" "+b {
		t.Errorf("the pods had addresses %s %s, and now %s", a, b, now)
	}
	l.addPod(t, "c", "worker1")
	l.addPod(t, "d", "worker2")
	l.nestedReady(t, pair+"/a", pair+"/b", pair+"/c", pair+"/d")
	until(t, 2*time.Minute, func() error { return l.fetchPart(t, pair+"/c", both) })
	until(t, 2*time.Minute, func() error { return l.fetchPart(t, pair+"/d", both) })
	logTime(t, "new pods reached the Service", began)
}

// inMachine runs a shell command in a virtual machine.
func (l *lab) inMachine(t *testing.T, name, command string) string {
	t.Helper()
	return l.run(t, "isthmus-lab", "exec", name, "--", "sh", "-c", command)
}

// nestedKills kills the agent and the kubelet in a machine while a pod is being started. Running
// pods there must lose no packets.
func (l *lab) nestedKills(t *testing.T) {
	l.conclusive(t, l.killedInMachine)
}

func (l *lab) killedInMachine(t *testing.T) (inconclusive bool) {
	a, b := l.address(t, pair+"/a"), l.address(t, pair+"/b")
	for _, program := range []string{"isthmus-agent", "kubelet"} {
		began, fresh := time.Now(), "with-"+program
		lost := l.pingDuring(t, pair+"/b", a, func() {
			l.addPod(t, fresh, "worker1")
			l.inMachine(t, "worker1", "kill -9 $(pidof "+program+")")
			until(t, nestedTimeout, func() error { return l.fetchPart(t, pair+"/"+fresh, b) })
		})
		logTime(t, "a pod that came when "+program+" was killed had its network", began)
		inconclusive = lost.check(t, "when "+program+" was killed") || inconclusive
	}
	return inconclusive
}

// nestedDeleted deletes a machine in OpenStack. Pods there must get an event, the subports of its
// port must be deleted, and a new machine with the same name must become a node.
func (l *lab) nestedDeleted(t *testing.T) {
	l.nestedPair(t, "lost")
	behind := l.subports(t, "worker2")
	began := time.Now()
	l.run(t, "isthmus-lab", "vm", "delete", "worker2")
	until(t, 3*time.Minute, func() error {
		messages := l.kubectl(t, "-n", "lost", "get", "events", "--field-selector", "reason=NoParentPort,involvedObject.name=b", "-o", "jsonpath={.items[*].message}")
		if !strings.Contains(messages, "Node worker2") {
			return fmt.Errorf("the events of the pod there say %q", messages)
		}
		return nil
	})
	logTime(t, "the pod there was told", began)
	untilCloud(t, nestedTimeout, func() error {
		left := l.kubectl(t, "-n", "lost", "get", "pod/b", "ip/b.lost", "--ignore-not-found", "-o", "name")
		if left != "" {
			return fmt.Errorf("%s is left", left)
		}
		for _, port := range l.tenant(t, "port", "list", "-f", "value", "-c", "ID") {
			if _, was := behind[port]; was {
				return fmt.Errorf("port %s is left", port)
			}
		}
		return nil
	})
	logTime(t, fmt.Sprintf("the pod, its claim and %d ports were gone", len(behind)), began)
	l.run(t, "isthmus-lab", "exec", machine, "--", "ping", "-c", "2", "-W", "10", l.address(t, "lost/a"))
	l.runNested(t, "isthmus-lab", "up")
	logTime(t, "another machine was a node", began)
	l.apply(t, server("lost", "c", "worker2"))
	l.nestedReady(t, "lost/c")
	until(t, time.Minute, func() error { return l.fetchPart(t, "lost/c", l.address(t, "lost/a")) })
	logTime(t, "a pod there reached the other machine's", began)
}
