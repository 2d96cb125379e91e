//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/reach"
)

// policyCases are those that internal/reach holds against the pure core; here
// traffic has the word.
const policyCases = "internal/reach/testdata/policy"

// listening is what everybody answers at: all ports that a case speaks of.
var listening = strings.Fields("tcp/80 tcp/81 tcp/8079 tcp/8080 tcp/8082 tcp/8085 tcp/8086 udp/53 udp/54 udp/80 udp/8080")

// stage is the cases' world, as it stands in the lab.
type stage struct {
	*lab
	world reach.World
	// purges counts how often the switches dropped their caches, see look.
	purges *atomic.Int32
}

// policies runs the table of cases, one after the other, on one set of pods.
func (l *lab) policies(t *testing.T) {
	s := l.stageWorld(t)
	files, err := filepath.Glob(filepath.Join(l.repo, policyCases, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { s.holds(t, file) })
	}
	t.Run("a pod with other labels", s.relabelled)
	t.Run("while Neutron starts anew", s.withoutNeutron)
	t.Logf("the switches dropped their caches %d times, at most %d are allowed", s.purges.Load(), mostPurges)
}

// stageWorld makes namespaces, pods, Services and machines, and learns their addresses.
func (l *lab) stageWorld(t *testing.T) *stage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.repo, policyCases, "world.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{lab: l, purges: new(atomic.Int32)}
	if err := s.world.Add(string(text)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.kubectl(t, "delete", "namespace", "--ignore-not-found", "a", "b", "c") })
	for _, n := range s.world.Namespaces {
		s.apply(t, manifest(t, "v1", n))
	}
	for _, v := range s.world.Services {
		v.Spec.ClusterIP = ""
		s.apply(t, manifest(t, "v1", v))
		v.Spec.ClusterIP = l.kubectl(t, "-n", v.Namespace, "get", "service", v.Name, "-o", "jsonpath={.spec.clusterIP}")
	}
	l.abroad(t, s.world.Outside)
	s.start(t, s.world.Pods...)
	for _, n := range s.world.Nodes {
		n.Status.Addresses[0].Address = l.kubectl(t, "get", "ip", "node-"+n.Name, "-o", "jsonpath={.spec.v4IpAddress}")
	}
	s.listen(t)
	return s
}

// manifest is an object as kubectl takes it.
func manifest(t *testing.T, version string, o runtime.Object) string {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	fields["apiVersion"] = version
	delete(fields, "status")
	text, err := yaml.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// start makes pods that answer everywhere, and notes their addresses.
func (s *stage) start(t *testing.T, pods ...*corev1.Pod) {
	t.Helper()
	for _, p := range pods {
		now := int64(0)
		run := p.DeepCopy()
		run.Spec.TerminationGracePeriodSeconds = &now
		run.Spec.Containers[0].Image = "localhost/isthmus-demo:1"
		run.Spec.Containers[0].Command = append([]string{"hello"}, listening...)
		s.apply(t, manifest(t, "v1", run))
	}
	for _, p := range pods {
		name := p.Namespace + "/" + p.Name
		s.ready(t, name)
		p.Status.PodIPs = []corev1.PodIP{{IP: s.address(t, name)}}
	}
}

// listen lets nodes and machines answer, too.
func (s *stage) listen(t *testing.T) {
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
		cmd := s.command(ctx, append(s.at(end), listening...)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := cmd.Wait(); ctx.Err() == nil {
				t.Errorf("%s does not answer any more: %v\n%s", end, err, said.String())
			}
		})
	}
}

// at is how the program hello is run by whoever has that name.
func (s *stage) at(end string) []string {
	if namespace, pod, is := strings.Cut(end, "/"); is {
		return []string{"kubectl", "-n", namespace, "exec", "-i", pod, "--", "hello"}
	}
	hello := filepath.Join(s.repo, "bin", "hello")
	if strings.HasPrefix(end, "node") {
		return []string{"isthmus-lab", "exec", end, "--", hello}
	}
	return []string{"isthmus-lab", "exec", hostOfAbroad, "--", "ip", "netns", "exec", end, hello}
}

// patience is for a policy to hold. It takes seconds, unless the machine is busy.
const patience = 3 * time.Minute

// holds applies a case's policies and waits until each row is as it says: twice
// in a row, for what is so by chance is not so again.
func (s *stage) holds(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := reach.ReadCase(s.world, text)
	if err != nil {
		t.Fatal(err)
	}
	more := c.World.Pods[len(s.world.Pods):]
	t.Cleanup(func() {
		for _, p := range c.World.Policies {
			s.kubectl(t, "-n", p.Namespace, "delete", "networkpolicy", p.Name)
		}
		for _, p := range more {
			s.kubectl(t, "-n", p.Namespace, "delete", "pod", p.Name)
		}
	})
	for _, p := range c.World.Policies {
		s.apply(t, manifest(t, "networking.k8s.io/v1", p))
	}
	begin := time.Now()
	s.start(t, more...)
	s.await(t, c)
	t.Logf("holds %.1f s after it was applied: %d rows", time.Since(begin).Seconds(), len(c.Rows))
}

// await waits until the rows of a case are so, and still so when looked at again.
func (s *stage) await(t *testing.T, c reach.Case) {
	t.Helper()
	rows := withTraffic(c.Rows)
	defer func() {
		if t.Failed() {
			s.explain(t, c, rows)
		}
	}()
	for range 2 {
		until(t, patience, s.look(t, c, rows))
	}
}

// stale is how long rows are wrong before the switches drop their caches: Open vSwitch's
// userspace datapath may keep a flow that its tables no longer have (docs/lab.md).
const stale = 30 * time.Second

// mostPurges is how often that may be needed for all cases together. A fault of ours that
// such a purge hides is not rare.
const mostPurges = 3

// look returns a function that tries all rows. Once they have been wrong for longer than
// stale, it purges the switches' caches, at most once. OVN's flows stay as they are.
func (s *stage) look(t *testing.T, c reach.Case, rows []reach.Row) func() error {
	began, purged := time.Now(), false
	return func() error {
		err := s.wrong(t, c, rows)
		if err != nil && !purged && time.Since(began) > stale {
			purged = true
			s.purge(t, err)
		}
		return err
	}
}

// purge has the switches drop their caches, and fails the test if they did too often.
func (s *stage) purge(t *testing.T, wrong error) {
	t.Helper()
	n := s.purges.Add(1)
	t.Logf("wrong for %s: the switches drop their caches, purge %d: %v", stale, n, wrong)
	if n > mostPurges {
		t.Errorf("the switches' caches were purged %d times, at most %d are allowed", n, mostPurges)
	}
	s.onNodes(t, "ovs-appctl", "revalidator/purge")
}

// withTraffic leaves out SCTP: the userspace datapath takes none of it.
func withTraffic(rows []reach.Row) []reach.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r reach.Row) bool { return r.Protocol == "sctp" })
}

// wrong looks at all rows, each end's at the same time, and tells which are not so.
func (s *stage) wrong(t *testing.T, c reach.Case, rows []reach.Row) error {
	t.Helper()
	from := map[string][]reach.Row{}
	for _, r := range rows {
		from[r.From] = append(from[r.From], r)
	}
	ends := slices.Sorted(maps.Keys(from))
	said := make([]error, len(ends))
	var all sync.WaitGroup
	for i, end := range ends {
		all.Go(func() { said[i] = s.wrongFrom(t, c, end, from[end]) })
	}
	all.Wait()
	return errors.Join(said...)
}

func (s *stage) wrongFrom(t *testing.T, c reach.Case, end string, rows []reach.Row) error {
	var in strings.Builder
	for _, r := range rows {
		f, err := c.Flow(r)
		if err != nil {
			return err
		}
		fmt.Fprintln(&in, r.Protocol, f.To, r.Port)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := s.command(ctx, append(s.at(end), "reach")...)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", end, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(rows) {
		return fmt.Errorf("%s tried %d of %d", end, len(lines), len(rows))
	}
	var wrong []string
	for i, r := range rows {
		if passes := strings.HasSuffix(lines[i], " yes"); passes != r.Pass {
			wrong = append(wrong, fmt.Sprintf("%s (%s): passes %v, want %v", r, lines[i], passes, r.Pass))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n"))
}

// onlyClients is a policy that lets pods with label app=client come in to a/web.
const onlyClients = `
-- policy.yaml --
kind: NetworkPolicy
metadata: {namespace: a, name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
-- reach --
no  * -> a/web,a/web2 TCP/80
yes a/client -> a/web,a/web2 TCP/80
`

// clients applies that policy, and takes it away in the end.
func (s *stage) clients(t *testing.T, rows string) reach.Case {
	t.Helper()
	c, err := reach.ReadCase(s.world, []byte(onlyClients+rows))
	if err != nil {
		t.Fatal(err)
	}
	s.apply(t, manifest(t, "networking.k8s.io/v1", c.World.Policies[0]))
	t.Cleanup(func() { s.kubectl(t, "-n", "a", "delete", "--ignore-not-found", "networkpolicy", "web") })
	return c
}

// relabelled: a pod that is no peer any more, and one that is not selected any more.
func (s *stage) relabelled(t *testing.T) {
	s.await(t, s.clients(t, ""))
	label := func(pod, app string) { s.kubectl(t, "-n", "a", "label", "--overwrite", "pod", pod, "app="+app) }
	t.Cleanup(func() { label("client", "client"); label("web2", "web") })
	label("client", "other")
	label("web2", "other")
	begin := time.Now()
	s.await(t, s.clients(t, "no a/client -> a/web TCP/80\nyes * -> a/web2 TCP/80\n"))
	t.Logf("pods with other labels: holds after %.1f s", time.Since(begin).Seconds())
}

// withoutNeutron: policies hold while Neutron is away and when it is back, and
// what changed meanwhile is made up for.
func (s *stage) withoutNeutron(t *testing.T) {
	c := s.clients(t, "")
	s.await(t, c)
	s.run(t, "isthmus-lab", "kill", "neutron")
	t.Cleanup(func() { s.run(t, "isthmus-lab", "start", "neutron") })
	s.await(t, c)
	s.kubectl(t, "-n", "b", "label", "--overwrite", "pod", "client", "app=client", "late=yes")
	t.Cleanup(func() { s.kubectl(t, "-n", "b", "label", "pod", "client", "late-") })
	s.run(t, "isthmus-lab", "start", "neutron")
	s.await(t, c)
	late := c
	late.World.Policies[0].Spec.Ingress[0].From[0].NamespaceSelector = &metav1.LabelSelector{}
	late.World.Policies[0].Spec.Ingress[0].From[0].PodSelector.MatchLabels = map[string]string{"late": "yes"}
	s.apply(t, manifest(t, "networking.k8s.io/v1", late.World.Policies[0]))
	for i, r := range late.Rows {
		late.Rows[i].Pass = r.From == "b/client"
	}
	s.await(t, late)
}
