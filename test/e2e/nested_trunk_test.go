//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// rename returns a script that renames a machine's interface, as an operator would. The
// interface keeps its address; the script restores the routes.
func rename(was, is string) string {
	return fmt.Sprintf(`set -e
routes=$(ip -4 route show dev %[1]s | grep ' via ' | sed 's/ dev .*//')
ip link set %[1]s down
ip link set %[1]s name %[2]s
ip link set %[2]s up
echo "$routes" | while read -r route; do ip route replace $route dev %[2]s; done`, was, is)
}

// nestedRename renames the interface of a trunk. The network of the pods there must work again
// in full, and new pods must become ready.
func (l *lab) nestedRename(t *testing.T) {
	both := l.clusterIP(t, pair+"/both")
	until(t, 2*time.Minute, func() error { return l.fetchPart(t, pair+"/b", both) })
	began := time.Now()
	t.Cleanup(func() { l.inMachine(t, "worker2", rename("trunk0", "eth0")) })
	l.inMachine(t, "worker2", rename("eth0", "trunk0"))
	until(t, nestedTimeout, func() error { return l.fetchPart(t, pair+"/b", both) }) // through the pod's router
	logTime(t, "a pod on a trunk that was renamed had its network", began)
	l.addPod(t, "renamed", "worker2")
	l.nestedReady(t, pair+"/renamed")
	until(t, 2*time.Minute, func() error { return l.fetchPart(t, pair+"/renamed", both) })
	logTime(t, "a new pod had its network", began)
}
