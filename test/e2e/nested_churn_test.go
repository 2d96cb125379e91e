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

// Pods of the churn, all on one machine: each wave comes up while the one before
// goes. Neutron is dead while one of them does.
const (
	churnWaves   = 20
	churnWave    = 10
	churnWithout = 15
)

// plugScript does what the kubelet and containerd would with pods, all at the same
// time: the arguments are verbs, names and UIDs. Each pod has a network namespace
// where containerd keeps them. What was done already may be done again.
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

// nestedChurn: pods come and go on one trunk, on which somebody has ports of his own
// with the VLAN ids that the next pods would have. He keeps them, and of the pods
// nothing is left. Containers take a machine without hardware acceleration seconds
// each, so these pods have none: the test calls the CNI plugin.
func (l *lab) nestedChurn(t *testing.T, neutron *sync.Mutex, theirs map[string]string, before []string) {
	l.namespace(t, "churn")
	t.Cleanup(func() { l.run(t, "isthmus-lab", "start", "neutron") })
	began, old, repeated := time.Now(), []string(nil), 0
	for wave := range churnWaves {
		if wave == churnWithout {
			neutron.Lock()
			t.Cleanup(neutron.Unlock)
			l.run(t, "isthmus-lab", "kill", "neutron")
		}
		fresh := l.churnWave(t, wave)
		if wave > 0 {
			l.forget(t, wave-1)
		}
		if wave == churnWithout {
			l.run(t, "isthmus-lab", "start", "neutron")
		}
		repeated += l.plug(t, fresh, old)
		old = fresh
		took(t, fmt.Sprintf("wave %d had its network", wave), began)
	}
	l.inMachine(t, "worker1", "nsenter --net=/run/netns/"+old[0]+" ping -c 2 -W 10 "+l.fixedIP(t, machine))
	l.forget(t, churnWaves-1)
	repeated += l.plug(t, nil, old)
	t.Logf("%d ADDs were repeated, at most %d may be", repeated, mostRepeated)
	took(t, fmt.Sprintf("%d pods had come and gone", churnWaves*churnWave), began)
	untilCloud(t, nestedPatience, func() error { return l.unchurned(t, before, theirs) })
	took(t, "without a trace", began)
}

// churnWave makes the pods of a wave and returns their names, each with its UID. The
// kubelet waits for what a container mounts before it makes anything of a pod.
func (l *lab) churnWave(t *testing.T, wave int) []string {
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

// forget deletes the pods of a wave. Without a grace period nobody waits for the kubelet.
func (l *lab) forget(t *testing.T, wave int) {
	t.Helper()
	l.kubectl(t, "-n", "churn", "delete", "pods", "-l", fmt.Sprint("wave=", wave), "--wait=false")
}

// plugging are the arguments of plugScript to do a verb for pods with their UIDs.
func plugging(verb string, pods []string) []string {
	var args []string
	for pod := range slices.Chunk(pods, 2) {
		args = append(append(args, verb), pod...)
	}
	return args
}

// tryAgainLater is how the CNI plugin prints the specification's code for an ADD that the
// runtime repeats.
const tryAgainLater = `"code": 11,`

// mostRepeated is how many ADDs of the churn may be repeated, of 200: the agent waits 25
// seconds for a port, and Neutron is dead for longer than that during one wave.
const mostRepeated = 5 * churnWave

// plug calls the CNI plugin: ADD for the pods of one wave, DEL for those of another, all
// at the same time. Like the kubelet it repeats an ADD that ends with "try again later",
// which is how the agent says that the port is not up yet. Every other failure fails the
// test. It returns how many ADDs were repeated.
func (l *lab) plug(t *testing.T, add, del []string) (repeated int) {
	t.Helper()
	args := slices.Concat(plugging("ADD", add), plugging("DEL", del))
	argv := append([]string{"isthmus-lab", "exec", "worker1", "--", "sh", "-c", plugScript, "sh"}, args...)
	for {
		said, err := l.try(t, argv...)
		if err == nil {
			return repeated
		}
		failed, again := strings.Count(said, " failed\n"), strings.Count(said, tryAgainLater)
		if repeated += failed; failed == 0 || failed != again || strings.Contains(said, "DEL ") || repeated > mostRepeated {
			t.Fatalf("%d ADDs were repeated: %v", repeated, err)
		}
	}
}

// onMachine are the links of a machine and the network namespaces in it.
func (l *lab) onMachine(t *testing.T, machine string) []string {
	t.Helper()
	return strings.Fields(l.inMachine(t, machine, "ls /sys/class/net /run/netns"))
}

// subports are the VLAN ids on a machine's trunk by the ids of their ports.
func (l *lab) subports(t *testing.T, machine string) map[string]string {
	t.Helper()
	words := l.tenant(t, "network", "subport", "list", "--trunk", machine, "-f", "value", "-c", "Port", "-c", "Segmentation ID")
	vlans := map[string]string{}
	for pair := range slices.Chunk(words, 2) {
		vlans[pair[0]] = pair[1]
	}
	return vlans
}

// strangers puts ports of somebody else's on a machine's trunk: one with the first
// VLAN id that is free, one with that after the last. It returns the ids by port.
func (l *lab) strangers(t *testing.T, machine string) map[string]string {
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
	theirs := map[string]string{}
	for _, vlan := range slices.Compact([]int{first, next}) {
		port := l.tenant(t, "port", "create", "--network", "private", "theirs", "-f", "value", "-c", "id")[0]
		t.Cleanup(func() { l.tenant(t, "port", "delete", port) })
		l.tenant(t, "network", "trunk", "set", "--subport", fmt.Sprintf("port=%s,segmentation-type=vlan,segmentation-id=%d", port, vlan), machine)
		t.Cleanup(func() { l.tenant(t, "network", "trunk", "unset", "--subport", port, machine) })
		theirs[port] = fmt.Sprint(vlan)
	}
	return theirs
}

// unchurned looks for traces of the churn: in Kubernetes, on the machine, in Neutron, in OVN.
func (l *lab) unchurned(t *testing.T, before []string, theirs map[string]string) error {
	t.Helper()
	if claims := l.kubectl(t, "get", "ips", "-o", `jsonpath={.items[?(@.spec.namespace=="churn")].metadata.name}`); claims != "" {
		return fmt.Errorf("claims are left: %s", claims)
	}
	left := slices.DeleteFunc(l.onMachine(t, "worker1"), func(name string) bool { return slices.Contains(before, name) })
	if len(left) > 0 { // others' pods may have gone meanwhile
		return fmt.Errorf("on the machine are left %q", left)
	}
	return l.tidy(t, theirs)
}

// tidy fails unless the ports on the machines' trunks are the pool's, the claims'
// and theirs, each with a VLAN id of its own, and the same are in OVN.
func (l *lab) tidy(t *testing.T, theirs map[string]string) error {
	t.Helper()
	pooled := l.tenant(t, "port", "list", "--name", "kuryr-pool-port", "--device-owner", "trunk:subport", "-f", "value", "-c", "ID")
	claimed := strings.Fields(l.kubectl(t, "get", "ips", "-o", "jsonpath={.items[*].spec.attach.vlan.port}"))
	wanted := slices.Concat(pooled, claimed, slices.Collect(maps.Keys(theirs)))
	var behind []string
	for _, machine := range []string{"worker1", "worker2"} {
		vlans := l.subports(t, machine)
		behind = slices.AppendSeq(behind, maps.Keys(vlans))
		distinct := map[string]bool{}
		for port, vlan := range vlans {
			if had := theirs[port]; had != "" && had != vlan || distinct[vlan] {
				return fmt.Errorf("%s of %q has VLAN %s, theirs are %q", port, vlans, vlan, theirs)
			}
			distinct[vlan] = true
		}
	}
	rows := strings.Fields(l.run(t, "ovn-nbctl", "--bare", "--columns=name", "find", "Logical_Switch_Port", "parent_name!=[]"))
	for _, all := range [][]string{wanted, behind, rows} {
		slices.Sort(all)
	}
	if !slices.Equal(behind, wanted) || !slices.Equal(behind, rows) {
		return fmt.Errorf("on trunks are ports %q, in pools %q, in claims %q, theirs %q, in OVN %q", behind, pooled, claimed, theirs, rows)
	}
	t.Logf("%d ports are in pools, %d in claims, %d are theirs", len(pooled), len(claimed), len(theirs))
	return nil
}
