//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// megabytes is the size in MiB of the file that is transferred over TCP. It is large enough to
// reveal a wrong MTU or checksum.
const megabytes = 10

// server returns the manifest of a pod on a node that serves the file over HTTP.
func server(namespace, name, node string) string {
	return pod(namespace, name, node, "localhost/isthmus-tools:1",
		fmt.Sprintf(`[sh, -c, "mkdir -p /www && dd if=/dev/zero of=/www/big bs=1M count=%d && exec httpd -f -p 80 -h /www"]`, megabytes))
}

// pod returns the manifest of a pod on a node. Its command must listen on TCP port 80.
func pod(namespace, name, node, image, command string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {namespace: %s, name: %s, labels: {app: e2e}}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: %s
    command: %s
    readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---`, namespace, name, node, image, command)
}

// fetch returns a shell command that prints the size in bytes of the file at address. It does
// not use wget -T, which crashes Debian's static busybox.
func fetch(address string) string {
	return "set -o pipefail; timeout 20 wget -q -O - http://" + address + "/big | wc -c"
}

// checkTransfer fails the test unless address answers pings and serves the whole file. from runs a
// shell command at the client.
func checkTransfer(t *testing.T, what, address string, from func(*testing.T, string) string) {
	t.Helper()
	from(t, "ping -c 2 -W 5 "+address)
	if got, want := strings.TrimSpace(from(t, fetch(address))), fmt.Sprint(megabytes<<20); got != want {
		t.Errorf("%s: TCP carried %s bytes of %s", what, got, want)
	}
}

func (l *lab) overlay(t *testing.T) {
	l.kubectl(t, "create", "namespace", "overlay")
	t.Cleanup(func() { l.kubectl(t, "delete", "namespace", "overlay") })
	l.apply(t, server("overlay", "a", "node1")+server("overlay", "b", "node1")+server("overlay", "c", "node2"))
	l.ready(t, "overlay/a", "overlay/b", "overlay/c")
	a, b, c := l.address(t, "overlay/a"), l.address(t, "overlay/b"), l.address(t, "overlay/c")
	pod := func(name string) func(*testing.T, string) string {
		return func(t *testing.T, command string) string { t.Helper(); return l.inPod(t, "overlay/"+name, command) }
	}
	node := func(name string) func(*testing.T, string) string {
		return func(t *testing.T, command string) string {
			t.Helper()
			return l.run(t, "isthmus-lab", "exec", name, "--", "busybox", "sh", "-c", command)
		}
	}
	checkTransfer(t, "pod to pod on one node", b, pod("a"))
	checkTransfer(t, "pod to pod across nodes", c, pod("a"))
	checkTransfer(t, "and back", a, pod("c"))
	checkTransfer(t, "node to a pod of its own", a, node("node1"))
	checkTransfer(t, "node to a pod of another node", c, node("node1"))
	for _, name := range []string{"a", "c"} {
		// the API server answers plain HTTP with an error, which proves that it was reached
		output := l.inPod(t, "overlay/"+name, `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 172.31.0.1 6443`)
		if !strings.Contains(output, "HTTPS server") {
			t.Errorf("pod %s to the API server: got %q", name, output)
		}
	}
}

// kubectlPlugin tests kubectl ko without OVN's programs: only kubectl and the plugin are on PATH.
func (l *lab) kubectlPlugin(t *testing.T) {
	programs, _, _ := strings.Cut(l.variable("PATH"), ":")
	if out := l.run(t, "env", "PATH="+programs, "kubectl", "ko", "nbctl", "--bare", "--columns=name", "find", "Logical_Switch", "name=join"); out != "join" {
		t.Errorf("got %q", out)
	}
	_, err := l.try(t, "env", "PATH="+programs, "kubectl", "ko", "sbctl", "no-such-command")
	if err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("got %v", err)
	}
}
