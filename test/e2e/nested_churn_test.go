//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The churn creates churnWaves waves of churnWave pods on one machine. Each wave is created while
// the wave before is deleted. Neutron is dead during wave churnWithout.
const (
	churnWaves   = 20
	churnWave    = 10
	churnWithout = 15
)

// plugScript calls the CNI plugin for pods in parallel, as the kubelet and containerd would. Its
// arguments are triples of verb, name and UID. It binds each pod's network namespace in
// containerd's directory. It is idempotent.
const plugScript = `
one() {
	ns=/run/netns/$2
	[ $1 = DEL ] || [ -e $ns ] || { touch $ns; unshare -n mount --bind /proc/self/ns/net $ns; }
	echo '{"cniVersion":"1.0.0","name":"isthmus","type":"isthmus-cni","socket":"/run/isthmus/agent.sock"}' |
		CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=$ns CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
			CNI_ARGS="K8S_POD_NAMESPACE=churn;K8S_POD_NAME=$2;K8S_POD_UID=$3" /opt/cni/bin/isthmus-cni || { echo "$1 $2 failed"; exit 1; }
	[ $1 = ADD ] || [ ! -e $ns ] || { umount -l $ns; rm -f $ns; }
}
all=
while [ $# -gt 0 ]; do one $1 $2 $3 & all="$all $!"; shift 3; done
for pid in $all; do wait $pid || failed=1; done
exit ${failed:-0}`

// nestedChurn creates and deletes pods on one trunk. The trunk also has subports of another user,
// foreign, with the VLAN ids that the next pods would get. These must stay, and nothing of the pods
// may be left. The pods have no containers, each of which would take seconds without hardware
// acceleration: the test calls the CNI plugin itself.
func (l *lab) nestedChurn(t *testing.T, neutron *sync.Mutex, foreign map[string]string, before []string) {
	l.namespace(t, "churn")
	t.Cleanup(func() { l.run(t, "isthmus-lab", "start", "neutron") })
	began, old, repeated := time.Now(), []string(nil), 0
	for wave := range churnWaves {
		if wave == churnWithout {
			neutron.Lock()
			t.Cleanup(neutron.Unlock)
			l.run(t, "isthmus-lab", "kill", "neutron")
		}
		fresh := l.createWave(t, wave)
		if wave > 0 {
			l.deleteWave(t, wave-1)
		}
		if wave == churnWithout {
			l.run(t, "isthmus-lab", "start", "neutron")
		}
		repeated += l.plug(t, fresh, old)
		old = fresh
		logTime(t, fmt.Sprintf("wave %d had its network", wave), began)
	}
	l.inMachine(t, "worker1", "nsenter --net=/run/netns/"+old[0]+" ping -c 2 -W 10 "+l.fixedIP(t, machine))
	l.deleteWave(t, churnWaves-1)
	repeated += l.plug(t, nil, old)
	t.Logf("%d ADDs were repeated, at most %d may be", repeated, maxRepeated)
	logTime(t, fmt.Sprintf("%d pods had come and gone", churnWaves*churnWave), began)
	untilCloud(t, nestedTimeout, func() error { return l.checkChurnRemoved(t, before, foreign) })
	logTime(t, "without a trace", began)
}

// createWave creates the pods of a wave and returns their names, each followed by its UID. The pods
// mount a Secret that does not exist, so the kubelet starts nothing of them.
func (l *lab) createWave(t *testing.T, wave int) []string {
	t.Helper()
	var all strings.Builder
	for i := range churnWave {
		fmt.Fprintf(&all, `
apiVersion: v1
kind: Pod
metadata: {namespace: churn, name: w%[1]d-%[2]d, labels: {wave: "%[1]d"}}
spec:
  nodeName: worker1
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  containers: [{name: main, image: "localhost/isthmus-tools:1", volumeMounts: [{name: awaited, mountPath: /awaited}]}]
  volumes: [{name: awaited, secret: {secretName: never}}]
---`, wave, i)
	}
	l.apply(t, all.String())
	return strings.Fields(l.kubectl(t, "-n", "churn", "get", "pods", "-l", fmt.Sprint("wave=", wave),
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {end}`))
}

// deleteWave deletes the pods of a wave. Without a grace period, the deletion does not wait for the
// kubelet.
func (l *lab) deleteWave(t *testing.T, wave int) {
	t.Helper()
	l.kubectl(t, "-n", "churn", "delete", "pods", "-l", fmt.Sprint("wave=", wave), "--wait=false")
}

// plugArgs returns the arguments of plugScript for a verb. pods has names, each followed by its
// UID.
func plugArgs(verb string, pods []string) []string {
	var args []string
	for pod := range slices.Chunk(pods, 2) {
		args = append(append(args, verb), pod...)
	}
	return args
}

// tryAgainLater is the CNI specification's error code "try again later" in the plugin's output.
// The runtime repeats such an ADD.
const tryAgainLater = `"code": 11,`

// maxRepeated is the allowed number of repeated ADDs of the 200 ADDs of the churn. The agent
// waits 25 s for a port, and Neutron is dead for longer during one wave.
const maxRepeated = 5 * churnWave

// plug calls the CNI plugin in parallel: ADD for the pods of one wave and DEL for those of
// another. Like the kubelet, it repeats an ADD that fails with "try again later", which means that
// the port is not up yet. Every other failure fails the test. It returns the number of repeated
// ADDs.
func (l *lab) plug(t *testing.T, add, del []string) (repeated int) {
	t.Helper()
	args := slices.Concat(plugArgs("ADD", add), plugArgs("DEL", del))
	argv := append([]string{"isthmus-lab", "exec", "worker1", "--", "sh", "-c", plugScript, "sh"}, args...)
	for {
		output, err := l.try(t, argv...)
		if err == nil {
			return repeated
		}
		failed, again := strings.Count(output, " failed\n"), strings.Count(output, tryAgainLater)
		if repeated += failed; failed == 0 || failed != again || strings.Contains(output, "DEL ") || repeated > maxRepeated {
			t.Fatalf("%d ADDs were repeated: %v", repeated, err)
		}
	}
}

// onMachine returns the names of a machine's links and network namespaces.
func (l *lab) onMachine(t *testing.T, machine string) []string {
	t.Helper()
	return strings.Fields(l.inMachine(t, machine, "ls /sys/class/net /run/netns"))
}

// subports returns the VLAN ids on a machine's trunk by port id.
func (l *lab) subports(t *testing.T, machine string) map[string]string {
	t.Helper()
	words := l.tenant(t, "network", "subport", "list", "--trunk", machine, "-f", "value", "-c", "Port", "-c", "Segmentation ID")
	vlans := map[string]string{}
	for pair := range slices.Chunk(words, 2) {
		vlans[pair[0]] = pair[1]
	}
	return vlans
}

// addForeignSubports adds subports of another user to a machine's trunk: one with the first free
// VLAN id, and one with the id after the highest. It returns the VLAN ids by port id.
func (l *lab) addForeignSubports(t *testing.T, machine string) map[string]string {
	t.Helper()
	taken, first, next := map[int]bool{}, 1, 1
	for _, text := range l.subports(t, machine) {
		vlan, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		taken[vlan], next = true, max(next, vlan+1)
	}
	for taken[first] {
		first++
	}
	foreign := map[string]string{}
	for _, vlan := range slices.Compact([]int{first, next}) {
		port := l.tenant(t, "port", "create", "--network", "private", "theirs", "-f", "value", "-c", "id")[0]
		t.Cleanup(func() { l.tenant(t, "port", "delete", port) })
		l.tenant(t, "network", "trunk", "set", "--subport", fmt.Sprintf("port=%s,segmentation-type=vlan,segmentation-id=%d", port, vlan), machine)
		t.Cleanup(func() { l.tenant(t, "network", "trunk", "unset", "--subport", port, machine) })
		foreign[port] = fmt.Sprint(vlan)
	}
	return foreign
}

// checkChurnRemoved errs if Kubernetes, the machine, Neutron or OVN has anything left of the churn.
func (l *lab) checkChurnRemoved(t *testing.T, before []string, foreign map[string]string) error {
	t.Helper()
	if claims := l.kubectl(t, "get", "ips", "-o", `jsonpath={.items[?(@.spec.namespace=="churn")].metadata.name}`); claims != "" {
		return fmt.Errorf("claims are left: %s", claims)
	}
	left := slices.DeleteFunc(l.onMachine(t, "worker1"), func(name string) bool { return slices.Contains(before, name) })
	if len(left) > 0 { // other pods may have been deleted meanwhile, so names of before may be missing
		return fmt.Errorf("on the machine are left %q", left)
	}
	return l.checkSubports(t, foreign)
}

// checkSubports errs unless the subports of the machines' trunks are exactly the ports of the port
// pool, of claims and of foreign, each with a different VLAN id on its trunk, and OVN has the same
// ports.
func (l *lab) checkSubports(t *testing.T, foreign map[string]string) error {
	t.Helper()
	pooled := l.tenant(t, "port", "list", "--name", "kuryr-pool-port", "--device-owner", "trunk:subport", "-f", "value", "-c", "ID")
	claimed := strings.Fields(l.kubectl(t, "get", "ips", "-o", "jsonpath={.items[*].spec.attach.vlan.port}"))
	wanted := slices.Concat(pooled, claimed, slices.Collect(maps.Keys(foreign)))
	var behind []string
	for _, machine := range []string{"worker1", "worker2"} {
		vlans := l.subports(t, machine)
		behind = slices.AppendSeq(behind, maps.Keys(vlans))
		distinct := map[string]bool{}
		for port, vlan := range vlans {
			if had := foreign[port]; had != "" && had != vlan || distinct[vlan] {
				return fmt.Errorf("%s of %q has VLAN %s, theirs are %q", port, vlans, vlan, foreign)
			}
			distinct[vlan] = true
		}
	}
	rows := strings.Fields(l.run(t, "ovn-nbctl", "--bare", "--columns=name", "find", "Logical_Switch_Port", "parent_name!=[]"))
	for _, all := range [][]string{wanted, behind, rows} {
		slices.Sort(all)
	}
	if !slices.Equal(behind, wanted) || !slices.Equal(behind, rows) {
		return fmt.Errorf("on trunks are ports %q, in pools %q, in claims %q, theirs %q, in OVN %q", behind, pooled, claimed, foreign, rows)
	}
	t.Logf("%d ports are in pools, %d in claims, %d are theirs", len(pooled), len(claimed), len(foreign))
	return nil
}
