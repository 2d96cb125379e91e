//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/isthmus-cni/isthmus/internal/reach"
)

// policyCases is the directory of the cases. internal/reach checks them against the pure core;
// these tests check them with real traffic.
const policyCases = "internal/reach/testdata/policy"

// policies runs all cases: in each world one after the other, and all worlds in parallel. Cases
// with Services run in the first world, which alone has Services.
func (l *lab) policies(t *testing.T, worlds []*policyWorld) {
	files, err := filepath.Glob(filepath.Join(l.repo, policyCases, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	first, others := make(chan string, len(files)), make(chan string, len(files))
	for _, file := range files {
		if usesServices(t, file) {
			first <- file
		} else {
			others <- file
		}
	}
	close(first)
	close(others)
	var all sync.WaitGroup
	for i, s := range worlds {
		queues := []chan string{others}
		if i == 0 {
			queues = []chan string{first, others}
		}
		all.Go(func() { s.runCases(t, queues) })
	}
	all.Wait()
	t.Logf("the switches dropped their caches %d times, at most %d are allowed", worlds[0].purges.Load(), maxPurges)
}

// runCases runs the cases of the queues, one after the other.
func (s *policyWorld) runCases(t *testing.T, queues []chan string) {
	for _, queue := range queues {
		for file := range queue {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { s.checkCase(t, file) })
		}
	}
	s.replacePolicies(t, nil)
}

func usesServices(t *testing.T, file string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "svc/")
}

// policyTimeout is the time limit until a policy holds. It takes seconds, unless the machine is busy.
const policyTimeout = 4 * time.Minute

// checkCase applies a case's policies to the world and waits until all rows are right, twice in
// succession, because one success may be chance.
func (s *policyWorld) checkCase(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := reach.ReadCase(s.world, text)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	s.replacePolicies(t, c.World.Policies)
	s.startPods(t, c.World.Pods[len(s.world.Pods):])
	s.await(t, c)
	t.Logf("holds %.1f s after it was applied: %d rows", time.Since(begin).Seconds(), len(c.Rows))
}

// replacePolicies replaces the world's policies. It does not delete the old ones first: a pod whose
// security groups stay the same needs no call to Neutron.
func (s *policyWorld) replacePolicies(t *testing.T, policies []*netv1.NetworkPolicy) {
	t.Helper()
	same := func(a, b *netv1.NetworkPolicy) bool { return a.Namespace == b.Namespace && a.Name == b.Name }
	var now, gone strings.Builder
	for _, p := range policies {
		now.WriteString(s.manifest(t, "networking.k8s.io/v1", s.restrictPeers(p)))
	}
	for _, old := range s.policies {
		if !slices.ContainsFunc(policies, func(p *netv1.NetworkPolicy) bool { return same(p, old) }) {
			gone.WriteString(s.manifest(t, "networking.k8s.io/v1", old))
		}
	}
	s.policies = policies
	if now.Len() > 0 {
		s.kubectl(t, "apply", "-f", s.file(t, now.String()))
	}
	if gone.Len() > 0 {
		s.kubectl(t, "delete", "--wait=false", "-f", s.file(t, gone.String()))
	}
}

// restrictPeers returns a policy whose namespace selectors match only namespaces of this copy.
// Otherwise pods of all copies would be its peers, and each would cost a call to Neutron. An
// empty selector stays as it is.
func (s *policyWorld) restrictPeers(p *netv1.NetworkPolicy) *netv1.NetworkPolicy {
	p = p.DeepCopy()
	for _, r := range p.Spec.Ingress {
		s.narrow(r.From)
	}
	for _, r := range p.Spec.Egress {
		s.narrow(r.To)
	}
	return p
}

func (s *policyWorld) narrow(peers []netv1.NetworkPolicyPeer) {
	for _, peer := range peers {
		if n := peer.NamespaceSelector; n != nil && len(n.MatchLabels)+len(n.MatchExpressions) > 0 {
			n.MatchLabels = labels.Merge(n.MatchLabels, labels.Set{worldLabel: s.suffix})
		}
	}
}

// await waits until the rows of a case are right twice in succession.
func (s *policyWorld) await(t *testing.T, c reach.Case) {
	t.Helper()
	rows := withTraffic(c.Rows)
	defer func() {
		if t.Failed() {
			s.explain(t, c, rows)
		}
	}()
	for range 2 {
		until(t, policyTimeout, s.tryRows(t, c, rows))
	}
}

// purgeAfter is the time after which wrong rows lead to a purge of the switches' caches. Open
// vSwitch's userspace datapath may keep a flow that its tables no longer have (docs/lab.md).
const purgeAfter = 90 * time.Second

// maxPurges is the allowed number of purges for all cases together. A fault of Isthmus that a
// purge hides would need more.
const maxPurges = 3

// tryRows returns a function that tries all rows. When they have been wrong for longer than
// purgeAfter, the function purges the switches' caches, at most once. OVN's flows stay as they are.
func (s *policyWorld) tryRows(t *testing.T, c reach.Case, rows []reach.Row) func() error {
	began, purged := time.Now(), false
	return func() error {
		err := s.checkRows(t, c, rows)
		if err != nil && !purged && time.Since(began) > purgeAfter {
			purged = true
			s.purgeCaches(t, err)
		}
		return err
	}
}

// purgeCaches purges the switches' caches. It fails the test after more than maxPurges purges.
func (s *policyWorld) purgeCaches(t *testing.T, wrong error) {
	t.Helper()
	n := s.purges.Add(1)
	t.Logf("wrong for %s: the switches drop their caches, purge %d: %v", purgeAfter, n, wrong)
	if n > maxPurges {
		t.Errorf("the switches' caches were purged %d times, at most %d are allowed", n, maxPurges)
	}
	s.onNodes(t, "ovs-appctl", "revalidator/purge")
}

// onlyClients is a case with a policy that allows pods with label app=client to reach a/web.
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

// applyOnlyClients applies the policy of onlyClients, deletes it when the test ends, and returns
// the case with further rows.
func (s *policyWorld) applyOnlyClients(t *testing.T, rows string) reach.Case {
	t.Helper()
	c, err := reach.ReadCase(s.world, []byte(onlyClients+rows))
	if err != nil {
		t.Fatal(err)
	}
	s.applyForTest(t, s.manifest(t, "networking.k8s.io/v1", c.World.Policies[0]))
	return c
}

// label sets a pod's label to now, and to before when the test ends.
func (s *policyWorld) label(t *testing.T, pod, now, before string) {
	t.Helper()
	namespace, name, _ := strings.Cut(pod, "/")
	set := func(label string) {
		s.kubectl(t, "-n", s.namespaceOf(namespace), "label", "--overwrite", "pod", name, label)
	}
	t.Cleanup(func() { set(before) })
	set(now)
}

// relabelled changes labels so that one pod is no longer a peer and another no longer selected.
func (s *policyWorld) relabelled(t *testing.T) {
	s.await(t, s.applyOnlyClients(t, ""))
	s.label(t, "a/client", "app=other", "app=client")
	s.label(t, "a/web2", "app=other", "app=web")
	begin := time.Now()
	s.await(t, s.applyOnlyClients(t, "no a/client -> a/web TCP/80\nyes * -> a/web2 TCP/80\n"))
	t.Logf("pods with other labels: holds after %.1f s", time.Since(begin).Seconds())
}

// checkLateLabel changes the policy of applyOnlyClients so that its peers are the pods with label
// late=yes in all namespaces, and waits until it holds. Only b/client has that label.
func (s *policyWorld) checkLateLabel(t *testing.T, c reach.Case) {
	t.Helper()
	peer := &c.World.Policies[0].Spec.Ingress[0].From[0]
	peer.NamespaceSelector = &metav1.LabelSelector{}
	peer.PodSelector.MatchLabels = map[string]string{"late": "yes"}
	s.apply(t, s.manifest(t, "networking.k8s.io/v1", c.World.Policies[0]))
	for i, r := range c.Rows {
		c.Rows[i].Pass = r.From == "b/client"
	}
	s.await(t, c)
}
