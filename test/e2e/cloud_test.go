//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// neutron runs the tests of profile neutron. The last test uninstalls Isthmus.
func (l *lab) neutron(t *testing.T) {
	t.Run("walk", l.walkBareMetal)
	l.walkDocuments(t, "neutron")
	t.Run("cloud", l.cloud)
	t.Run("pods keep their network without the controller and the agents", l.restart)
	t.Run("uninstall leaves nothing in OpenStack", l.uninstallCloud)
}

// cloud runs tests in parallel that mostly wait for Neutron, Octavia or the controller's read of
// them once a minute. Then it kills the APIs.
func (l *lab) cloud(t *testing.T) {
	worlds := l.createWorlds(t)
	inParallel(t,
		test{"NetworkPolicies hold", func(t *testing.T) { l.policies(t, worlds) }},
		test{"nodes reach pods and Services and the API server its webhooks", l.nodesReach},
		test{"what somebody deletes comes back", l.forgets},
		test{"balancers of OpenStack's on a router that we joined", l.joinedBalancers},
	)
	t.Run("NetworkPolicies hold when pods have other labels", worlds[0].relabelled)
	t.Run("pods and policies hold without Neutron and Octavia", func(t *testing.T) { l.withoutCloud(t, worlds[0]) })
}

// test is a test that can run in parallel with others.
type test struct {
	name string
	do   func(*testing.T)
}

// inParallel runs tests in parallel and returns when all have ended. It does so on any number of
// processors, because the tests mostly wait.
func inParallel(t *testing.T, tests ...test) {
	t.Helper()
	var all sync.WaitGroup
	for _, one := range tests {
		all.Go(func() { t.Run(one.name, one.do) })
	}
	all.Wait()
}

// vpc returns the name of the Vpc of Neutron's router1.
func (l *lab) vpc(t *testing.T) string {
	t.Helper()
	return "neutron-" + l.run(t, "openstack", "router", "show", "router1", "-f", "value", "-c", "id")
}

// tenant runs the openstack client in the cluster's project and returns the words of its output.
func (l *lab) tenant(t *testing.T, args ...string) []string {
	t.Helper()
	return strings.Fields(l.run(t, append([]string{"env", "OS_CLOUD=k8s", "openstack"}, args...)...))
}

// portOf returns the id of the Neutron port with a pod's name, "namespace/name". It errs unless
// there is exactly one.
func (l *lab) portOf(t *testing.T, pod string) (string, error) {
	t.Helper()
	ids := l.tenant(t, "port", "list", "--name", pod, "-f", "value", "-c", "ID")
	if len(ids) != 1 {
		return "", fmt.Errorf("%d ports are called %s", len(ids), pod)
	}
	return ids[0], nil
}

// pair creates a namespace with pods "a" on node1 and "b" on node2, which serve a file, and the
// Service "both" with both pods.
func (l *lab) pair(t *testing.T, namespace string) {
	t.Helper()
	l.apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", namespace))
	t.Cleanup(func() { l.kubectl(t, "delete", "namespace", namespace, "--timeout=150s") })
	l.apply(t, server(namespace, "a", "node1")+server(namespace, "b", "node2")+service(namespace, "both"))
	l.ready(t, namespace+"/a", namespace+"/b")
	l.waitLoadBalancer(t, namespace+"/both")
}

// waitLoadBalancer waits until the load balancer of a Service, given as "namespace/name", is ready.
func (l *lab) waitLoadBalancer(t *testing.T, service string) {
	t.Helper()
	namespace, name, _ := strings.Cut(service, "/")
	l.kubectl(t, "-n", namespace, "wait", "--for=condition=openstack.org/LoadBalancerReady", "service/"+name, "--timeout=120s")
}

// service returns the manifest of a Service that selects the pods of server.
func service(namespace, name string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {namespace: %s, name: %s}
spec: {selector: {app: e2e}, ports: [{port: 80}]}
---`, namespace, name)
}

// clusterIP returns the cluster IP of a Service, given as "namespace/name".
func (l *lab) clusterIP(t *testing.T, service string) string {
	t.Helper()
	namespace, name, _ := strings.Cut(service, "/")
	return l.kubectl(t, "-n", namespace, "get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
}

// fetchFile returns nil if a pod gets the whole file from an address.
func (l *lab) fetchFile(t *testing.T, pod, address string) error {
	t.Helper()
	out, err := l.try(t, podArgv(pod, fetch(address))...)
	if err == nil && strings.TrimSpace(out) != fmt.Sprint(megabytes<<20) {
		err = fmt.Errorf("pod %s got %s bytes from %s", pod, strings.TrimSpace(out), address)
	}
	return err
}

// checkPorts errs unless each pod of a namespace has one claim, and the claim's port has the pod's
// name.
func (l *lab) checkPorts(t *testing.T, namespace string) error {
	t.Helper()
	pods := strings.Fields(l.kubectl(t, "-n", namespace, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}"))
	claimed := map[string]string{} // port's id → pod
	for line := range strings.Lines(l.kubectl(t, "get", "ips", "-o", `jsonpath={range .items[*]}{.spec.namespace} {.spec.podName} {.spec.attach.ovs.ifaceID}{"\n"}{end}`)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == namespace {
			claimed[words[2]] = words[1]
		}
	}
	named := l.tenant(t, "port", "list", "--device-owner", "compute:kuryr", "-f", "value", "-c", "ID", "-c", "Name")
	right, ports := 0, 0
	for i := 0; i+1 < len(named); i += 2 {
		if pod, ours := strings.CutPrefix(named[i+1], namespace+"/"); ours {
			ports++
			if claimed[named[i]] == pod {
				right++
			}
		}
	}
	if len(pods) != len(claimed) || len(pods) != ports || len(pods) != right {
		return fmt.Errorf("%d pods have %d claims and %d ports, of which %d are those of the claims", len(pods), len(claimed), ports, right)
	}
	return nil
}
