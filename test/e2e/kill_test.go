//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/test/neighbour"
)

// faultPods creates the pods of the fault tests: two on the overlay, on different nodes, and one on
// Neutron's router.
func (l *lab) faultPods(t *testing.T, name string) {
	t.Helper()
	l.join(t, name, "10.70.0.0/24")
	t.Cleanup(func() { l.leave(t, name); l.checkRemoved(t, name) })
	l.apply(t, server("default", name+"-a", "node1")+server("default", name+"-c", "node2")+server(name, "on-router", "node2"))
	t.Cleanup(func() { l.kubectl(t, "delete", "pods", "-l", "app=e2e") })
	l.ready(t, "default/"+name+"-a", "default/"+name+"-c", name+"/on-router")
}

// attempts is the maximum number of attempts if Open vSwitch crashes.
const attempts = 3

// conclusive runs a test that counts lost packets. If Open vSwitch's userspace datapath crashed
// during an attempt (docs/lab.md), the lost packets do not show a fault of Isthmus. Such an
// attempt is inconclusive, and conclusive repeats the whole test, up to three attempts in all. It
// logs each attempt.
func (l *lab) conclusive(t *testing.T, attempt func(*testing.T) (inconclusive bool)) {
	t.Helper()
	for n := range attempts {
		var inconclusive bool
		t.Run(fmt.Sprintf("attempt %d", n+1), func(t *testing.T) { inconclusive = attempt(t) })
		if t.Failed() || !inconclusive {
			return
		}
		t.Logf("attempt %d is inconclusive: Open vSwitch crashed", n+1)
	}
	t.Errorf("Open vSwitch crashed in each of %d attempts", attempts)
}

// switchPIDs returns the pids of ovs-vswitchd, one per node.
func (l *lab) switchPIDs(t *testing.T) []string {
	t.Helper()
	var pids []string
	for _, node := range []string{"node1", "node2"} {
		pids = append(pids, l.run(t, "isthmus-lab", "exec", node, "--", "cat", "/run/openvswitch/ovs-vswitchd.pid"))
	}
	return pids
}

// loss is the loss of pings from one end to another.
type loss struct {
	packets int
	// crashed are the nodes whose Open vSwitch restarted meanwhile.
	crashed []string
}

// check fails the test if more than one packet was lost: a userspace datapath that gets no
// processor time for a moment drops one. If a switch crashed, check returns true instead,
// because the loss proves nothing.
func (lost loss) check(t *testing.T, what string) (inconclusive bool) {
	t.Helper()
	switch {
	case lost.packets <= 1:
		return false
	case len(lost.crashed) > 0:
		t.Logf("lost %d packets %s while Open vSwitch of %q started anew", lost.packets, what, lost.crashed)
		return true
	}
	t.Errorf("lost %d packets %s", lost.packets, what)
	return false
}

// pingDuring pings an address from a pod, given as "namespace/name", while do runs, and returns the
// loss.
func (l *lab) pingDuring(t *testing.T, pod, address string, do func()) loss {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	// the shell in the pod stops ping when it reads a line from us; then ping prints its counts
	argv := podArgv(pod, "ping -i 0.2 "+address+" & read end; kill -INT $!; wait")
	argv = append(argv[:4], append([]string{"-i"}, argv[4:]...)...)
	cmd := l.command(ctx, argv...)
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	before := l.switchPIDs(t)
	do()
	after := l.switchPIDs(t)
	_, _ = fmt.Fprintln(in)
	if err := cmd.Wait(); err != nil {
		t.Logf("ping from %s to %s: %v", pod, address, err) // the status is not 0 if packets were lost
	}
	sent, packets := lostPackets(t, out.String())
	if sent < 5 {
		t.Errorf("ping from %s to %s sent only %d packets", pod, address, sent)
	}
	lost := loss{packets: packets}
	for i, pid := range after {
		if pid != before[i] {
			lost.crashed = append(lost.crashed, fmt.Sprintf("node%d", i+1))
		}
	}
	return lost
}

// underWay is how many packets may be unanswered when ping is stopped: those of two seconds. A
// busy machine answers late.
const underWay = 10

// lostPackets returns how many packets ping sent and how many of them were lost, by what it
// printed. The last ones are lost only if they are more than underWay.
func lostPackets(t *testing.T, printed string) (sent, lost int) {
	t.Helper()
	m := regexp.MustCompile(`(\d+) packets transmitted`).FindStringSubmatch(printed)
	if m == nil {
		t.Fatalf("ping did not print how many packets it sent:\n%s", printed)
	}
	sent, _ = strconv.Atoi(m[1])
	answered, last := map[int]bool{}, -1
	for _, m := range regexp.MustCompile(`seq=(\d+) `).FindAllStringSubmatch(printed, -1) {
		seq, _ := strconv.Atoi(m[1])
		answered[seq], last = true, max(last, seq)
	}
	lost = last + 1 - len(answered)
	if unanswered := sent - last - 1; unanswered > underWay {
		lost += unanswered
	}
	return sent, lost
}

func TestLostPackets(t *testing.T) {
	for _, c := range []struct {
		name, printed string
		lost          int
	}{
		{"none", "seq=0 ttl\nseq=1 ttl\n2 packets transmitted, 2 packets received", 0},
		{"two between others", "seq=0 ttl\nseq=3 ttl\n4 packets transmitted, 2 packets received", 2},
		{"three are under way", "seq=0 ttl\nseq=1 ttl\n5 packets transmitted, 2 packets received", 0},
		{"no answer any more", "seq=0 ttl\n20 packets transmitted, 1 packets received", 19},
		{"never an answer", "20 packets transmitted, 0 packets received", 20},
		{"one answered twice", "seq=0 ttl\nseq=0 ttl\nseq=2 ttl\n3 packets transmitted, 3 packets received", 1},
	} {
		if _, lost := lostPackets(t, c.printed); lost != c.lost {
			t.Errorf("%s: lost %d packets, want %d", c.name, lost, c.lost)
		}
	}
}

// checkNoLoss fails the test if running pods lose packets while do runs. It returns true if the result
// is inconclusive.
func (l *lab) checkNoLoss(t *testing.T, name string, do func()) (inconclusive bool) {
	t.Helper()
	c, vm := l.address(t, "default/"+name+"-c"), l.guestAddress(t)
	var toMachine loss
	toPod := l.pingDuring(t, "default/"+name+"-a", c, func() { toMachine = l.pingDuring(t, name+"/on-router", vm, do) })
	first, second := toPod.check(t, "from pod to pod"), toMachine.check(t, "from pod to virtual machine")
	return first || second
}

// daemons returns the pids of an Isthmus program in the lab's pods.
func daemons(t *testing.T, program string) []int {
	t.Helper()
	var pids []int
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		exe, _ := os.Readlink(link)
		cgroup, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cgroup"))
		if filepath.Base(exe) == program && strings.Contains(string(cgroup), "/isthmus-lab/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// running is the number of processes of each Isthmus program in a lab.
var running = map[string]int{"isthmus-controller": 1, "isthmus-agent": 2}

// killDaemons kills all processes of an Isthmus program with SIGKILL. Before, it waits until all
// of them run, because the kubelet restarts a killed process only after a pause. It fails the
// test if they do not run.
func (l *lab) killDaemons(t *testing.T, program string) {
	t.Helper()
	var pids []int
	until(t, 2*time.Minute, func() error {
		if pids = daemons(t, program); len(pids) < running[program] {
			return fmt.Errorf("%d processes of %s run, want %d", len(pids), program, running[program])
		}
		return nil
	})
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("kill %s, process %d: %v", program, pid, err)
		}
	}
}

func (l *lab) rolledOut(t *testing.T) {
	t.Helper()
	for _, d := range []string{"deployment/isthmus-controller", "daemonset/isthmus-agent"} {
		l.kubectl(t, "-n", "kube-system", "rollout", "status", d, "--timeout=120s")
	}
}

// kill kills the daemons by signal and by the API while pods are created and deleted. No packet
// may be lost and nothing may leak.
func (l *lab) kill(t *testing.T) {
	l.conclusive(t, l.killed)
}

func (l *lab) killed(t *testing.T) (inconclusive bool) {
	l.faultPods(t, "kill")
	inconclusive = l.checkNoLoss(t, "kill", func() {
		l.apply(t, many("kill", 10))
		for program := range running {
			l.killDaemons(t, program)
		}
		l.kubectl(t, "-n", "kill", "scale", "deployment/many", "--replicas=5")
		l.kubectl(t, "-n", "kill", "rollout", "status", "deployment/many", "--timeout=150s")
		l.kubectl(t, "-n", "kube-system", "delete", "pods", "-l", "app in (isthmus-controller, isthmus-agent)", "--force", "--grace-period=0")
		l.kubectl(t, "-n", "kill", "scale", "deployment/many", "--replicas=10")
		l.kubectl(t, "-n", "kill", "rollout", "status", "deployment/many", "--timeout=150s")
	})
	l.rolledOut(t)
	l.checkConsistent(t, "kill")
	return inconclusive
}

// without removes all daemons. When they are back, the changes made meanwhile must take effect.
func (l *lab) without(t *testing.T) {
	l.conclusive(t, l.withoutDaemons)
}

func (l *lab) withoutDaemons(t *testing.T) (inconclusive bool) {
	l.faultPods(t, "without")
	l.apply(t, many("without", 5))
	l.kubectl(t, "-n", "without", "rollout", "status", "deployment/many", "--timeout=120s")
	inconclusive = l.checkNoLoss(t, "without", func() {
		l.kubectl(t, "-n", "kube-system", "scale", "deployment/isthmus-controller", "--replicas=0")
		l.kubectl(t, "-n", "kube-system", "patch", "daemonset/isthmus-agent", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"true"}}}}}`)
		until(t, time.Minute, func() error {
			if n := len(daemons(t, "isthmus-controller")) + len(daemons(t, "isthmus-agent")); n > 0 {
				return fmt.Errorf("%d daemons still run", n)
			}
			return nil
		})
		l.kubectl(t, "-n", "without", "scale", "deployment/many", "--replicas=2")
		l.apply(t, server("without", "late", "node1"))
		l.inPod(t, "default/without-a", "ping -c 5 -W 2 "+l.address(t, "default/without-c"))
	})
	l.kubectl(t, "-n", "kube-system", "scale", "deployment/isthmus-controller", "--replicas=1")
	l.kubectl(t, "-n", "kube-system", "patch", "daemonset/isthmus-agent", "--type=json", "-p", `[{"op":"remove","path":"/spec/template/spec/nodeSelector/nowhere"}]`)
	l.rolledOut(t)
	l.ready(t, "without/late")
	l.kubectl(t, "-n", "without", "rollout", "status", "deployment/many", "--timeout=120s")
	l.checkConsistent(t, "without")
	return inconclusive
}

// checkConsistent fails the test unless OVN and Kubernetes agree on a namespace's pods: each pod has
// one port and one claim, there are no other ports and claims, and all addresses are different.
func (l *lab) checkConsistent(t *testing.T, namespace string) {
	t.Helper()
	until(t, 30*time.Second, func() error {
		pods := strings.Fields(l.kubectl(t, "-n", namespace, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}"))
		claims := strings.Fields(l.kubectl(t, "get", "ips", "-l", "ovn.kubernetes.io/subnet="+namespace, "-o", "jsonpath={.items[*].spec.v4IpAddress}"))
		ports := 0
		for _, row := range neighbour.Ours(l.rows(t)) {
			if strings.HasPrefix(row, "Logical_Switch_Port pod/"+namespace+"/") {
				ports++
			}
		}
		unique := map[string]bool{}
		for _, address := range claims {
			unique[address] = true
		}
		if len(pods) != ports || len(pods) != len(claims) || len(claims) != len(unique) {
			return fmt.Errorf("%d pods have %d ports, %d claims, %d addresses", len(pods), ports, len(claims), len(unique))
		}
		return nil
	})
}
