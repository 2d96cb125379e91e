//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/reach"
)

// worldCopies is the number of copies of the cases' world. While one copy waits for dropped
// packets, Neutron works for the other. Two copies suffice to keep Neutron busy.
const worldCopies = 2

// worldLabel is the label of namespaces with the copy to which they belong.
const worldLabel = "world"

// listening are the ports on which every end answers: all ports of all cases.
var listening = strings.Fields("tcp/80 tcp/81 tcp/8079 tcp/8080 tcp/8082 tcp/8085 tcp/8086 udp/53 udp/54 udp/80 udp/8080")

// policyWorld is one copy of the cases' world in the lab. The copies share nodes and machines.
type policyWorld struct {
	*lab
	world reach.World
	// policies are the policies of the present or last case.
	policies []*netv1.NetworkPolicy
	// suffix is the suffix of the names of this copy's namespaces in the lab.
	suffix string
	// purges counts the purges of the switches' caches for all copies. See tryRows.
	purges *atomic.Int32
	// probers try connections from the ends.
	probers *probers
}

// createWorlds creates the worlds, and the machines and nodes that answer all of them. Only the first
// world has Services.
func (l *lab) createWorlds(t *testing.T) []*policyWorld {
	t.Helper()
	worlds, purges := make([]*policyWorld, worldCopies), new(atomic.Int32)
	for i := range worlds {
		worlds[i] = &policyWorld{lab: l, suffix: fmt.Sprint(i + 1), purges: purges, probers: newProbers(t)}
		worlds[i].read(t, i == 0)
	}
	var all sync.WaitGroup
	all.Go(func() { l.outsideMachines(t, worlds[0].world.Outside) })
	for _, s := range worlds {
		all.Go(func() { s.build(t) })
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	worlds[0].startListeners(t)
	return worlds
}

// read reads the world of the cases. It drops the Services unless services is true.
func (s *policyWorld) read(t *testing.T, services bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.repo, policyCases, "world.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.world.Add(string(text)); err != nil {
		t.Fatal(err)
	}
	if !services {
		s.world.Services = nil
	}
	for _, n := range s.world.Nodes {
		n.Status.Addresses[0].Address = s.kubectl(t, "get", "ip", "node-"+n.Name, "-o", "jsonpath={.spec.v4IpAddress}")
	}
}

// build creates namespaces, Services and pods, and records their addresses.
func (s *policyWorld) build(t *testing.T) {
	t.Helper()
	var objects strings.Builder
	var names []string
	for _, n := range s.world.Namespaces {
		names = append(names, s.namespaceOf(n.Name))
		objects.WriteString(s.manifest(t, "v1", n))
	}
	t.Cleanup(func() { s.kubectl(t, append([]string{"delete", "namespace", "--ignore-not-found"}, names...)...) })
	for _, v := range s.world.Services {
		v.Spec.ClusterIP = ""
		objects.WriteString(s.manifest(t, "v1", v))
	}
	s.apply(t, objects.String())
	for _, v := range s.world.Services {
		v.Spec.ClusterIP = s.clusterIP(t, s.namespaceOf(v.Namespace)+"/"+v.Name)
	}
	s.startPods(t, s.world.Pods)
}

// namespaceOf returns the namespace in the lab for a namespace of the cases.
func (s *policyWorld) namespaceOf(namespace string) string { return namespace + "-" + s.suffix }

// manifest returns an object in this copy's namespace as YAML.
func (s *policyWorld) manifest(t *testing.T, version string, o runtime.Object) string {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	fields["apiVersion"] = version
	delete(fields, "status")
	metadata := fields["metadata"].(map[string]any)
	if namespace, ok := metadata["namespace"].(string); ok {
		metadata["namespace"] = s.namespaceOf(namespace)
	} else { // a Namespace; the API server sets the label with its name
		metadata["name"] = s.namespaceOf(metadata["name"].(string))
		set := metadata["labels"].(map[string]any)
		delete(set, corev1.LabelMetadataName)
		set[worldLabel] = s.suffix
	}
	text, err := yaml.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "---\n"
}

// applyForTest applies objects and deletes them when the test ends. It does not wait for the
// deletion: objects that are being deleted must not change the next case.
func (s *policyWorld) applyForTest(t *testing.T, objects string) {
	t.Helper()
	if objects == "" {
		return
	}
	file := s.file(t, objects)
	t.Cleanup(func() { s.kubectl(t, "delete", "--wait=false", "--ignore-not-found", "-f", file) })
	s.kubectl(t, "apply", "-f", file)
}

// startPods creates pods that answer on all ports, and records their addresses.
func (s *policyWorld) startPods(t *testing.T, pods []*corev1.Pod) {
	t.Helper()
	var objects strings.Builder
	for _, p := range pods {
		now := int64(0)
		run := p.DeepCopy()
		run.Spec.TerminationGracePeriodSeconds = &now
		run.Spec.Containers[0].Image = "localhost/isthmus-demo:1"
		run.Spec.Containers[0].Command = append([]string{"hello"}, listening...)
		objects.WriteString(s.manifest(t, "v1", run))
	}
	s.applyForTest(t, objects.String())
	for _, p := range pods {
		name := s.namespaceOf(p.Namespace) + "/" + p.Name
		s.ready(t, name)
		p.Status.PodIPs = []corev1.PodIP{{IP: s.address(t, name)}}
	}
}

// startListeners starts the program hello on nodes and machines until the test ends.
func (s *policyWorld) startListeners(t *testing.T) {
	t.Helper()
	var ends []string
	for _, n := range s.world.Nodes {
		ends = append(ends, n.Name)
	}
	for _, o := range s.world.Outside {
		ends = append(ends, o.Name)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	for _, end := range ends {
		cmd := s.command(ctx, append(s.helloCommand(end), listening...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := cmd.Wait(); ctx.Err() == nil {
				t.Errorf("%s does not answer any more: %v\n%s", end, err, stderr.String())
			}
		})
	}
}

// helloCommand returns the command that runs the program hello at an end: a pod, a node or a machine.
func (s *policyWorld) helloCommand(end string) []string {
	if namespace, pod, is := strings.Cut(end, "/"); is {
		return []string{"kubectl", "-n", s.namespaceOf(namespace), "exec", "-i", pod, "--", "hello"}
	}
	hello := filepath.Join(s.repo, "bin", "hello")
	if strings.HasPrefix(end, "node") {
		return []string{"isthmus-lab", "exec", end, "--", hello}
	}
	return []string{"isthmus-lab", "exec", machinesHost, "--", "ip", "netns", "exec", end, hello}
}
