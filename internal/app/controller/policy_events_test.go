package controller

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/policies"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// policyCluster is a cluster with NetworkPolicies, and its units' queues.
type policyCluster struct {
	*cluster
	queues map[string]trigger.Queue
}

func newPolicyCluster(objects ...client.Object) *policyCluster {
	q := trigger.NewQueues()
	queues := map[string]trigger.Queue{}
	q.Expect(3)
	for _, kind := range []string{"policy", "group", "pod"} {
		queues[kind] = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		q.Started(kind, queues[kind])
	}
	return &policyCluster{queues: queues, cluster: &cluster{client: fake.NewClientBuilder().WithScheme(kube.NewScheme()).WithObjects(objects...).Build(), policies: policies.NewIndex(), queues: q}}
}

// queued empties the queues and returns their units.
func (c *policyCluster) queued() []intent.Unit {
	var out []intent.Unit
	for kind, q := range c.queues {
		for q.Len() > 0 {
			r, _ := q.Get()
			q.Done(r)
			out = append(out, unit.Name(kind, r.NamespacedName))
		}
	}
	slices.Sort(out)
	return out
}

func podWithLabel(name, app string, ports ...corev1.ContainerPort) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Ports: ports}}},
	}
}

// allow returns a policy that allows ingress from peers to pods.
func allow(generation int64, pods, peers string, ports ...networkingv1.NetworkPolicyPort) *networkingv1.NetworkPolicy {
	selector := func(app string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p", Generation: generation},
		Spec: networkingv1.NetworkPolicySpec{PodSelector: *selector(pods), Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From: []networkingv1.NetworkPolicyPeer{{PodSelector: selector(peers)}}, Ports: ports,
		}}},
	}
}

// Of a thousand pods, a policy's change runs only those that the policy affects
// or affected.
func TestPolicyRunsOnlyItsPods(t *testing.T) {
	t.Parallel()
	all := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, podWithLabel("db", "db"), podWithLabel("web", "web"), podWithLabel("cache", "cache")}
	for i := range 1000 {
		all = append(all, podWithLabel(fmt.Sprint("other", i), "other"))
	}
	host, done, overlay := podWithLabel("host", "db"), podWithLabel("done", "db"), podWithLabel("overlay", "db")
	host.Spec.HostNetwork, done.Status.Phase = true, corev1.PodSucceeded
	claim := &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: "overlay.a"}, Spec: v1.IPSpec{
		Namespace: "a", PodName: "overlay", Attach: v1.Attach{OVS: &v1.AttachOVS{IfaceID: "overlay.a"}},
	}}
	c := newPolicyCluster(append(all, host, done, overlay, claim)...)
	before, after := allow(1, "db", "web"), allow(2, "cache", "web")
	group := policy.SharedGroups(before, nil)[0]
	for _, row := range []struct {
		name          string
		before, after *networkingv1.NetworkPolicy
		first         bool
		want          []intent.Unit
	}{
		{"it comes", nil, before, false, []intent.Unit{group, "pod/a/db", "pod/a/web", "policy/a/p"}},
		{"it changes", before, after, false, []intent.Unit{group, "pod/a/cache", "pod/a/db", "pod/a/web", "policy/a/p"}},
		{"it goes", after, nil, false, []intent.Unit{group, "pod/a/cache", "pod/a/web", "policy/a/p"}},
		{"only a label of its own changes", before, before, false, nil},
		{"it was there at the start", nil, before, true, nil},
	} {
		c.policyEvents().PolicyChanged(t.Context(), row.before, row.after, row.first)
		slices.Sort(row.want)
		if got := c.queued(); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// The first pod with a number for a port's name, and the last, run the policies
// that use the name. Other pods run none.
func TestNamedPortsRunPolicies(t *testing.T) {
	t.Parallel()
	name := intstr.FromString("sql")
	np := allow(1, "db", "web", networkingv1.NetworkPolicyPort{Port: &name})
	c := newPolicyCluster(np)
	sql, other := corev1.ContainerPort{Name: "sql", ContainerPort: 5432}, corev1.ContainerPort{Name: "x", ContainerPort: 1}
	one, two, three := podWithLabel("one", "db", sql), podWithLabel("two", "db", sql), podWithLabel("three", "db", other)
	ended := one.DeepCopy()
	ended.Status.Phase = corev1.PodFailed
	for _, row := range []struct {
		name          string
		before, after *corev1.Pod
		wakes         bool
	}{
		{"the first", nil, one, true},
		{"another", nil, two, false},
		{"one of another name", nil, three, false},
		{"one of two ends", one, ended, false},
		{"the last goes", two, nil, true},
	} {
		c.policyEvents().PortsChanged(t.Context(), row.before, row.after, false)
		if got := c.queued(); slices.Equal(got, []intent.Unit{"policy/a/p"}) != row.wakes || !row.wakes && got != nil {
			t.Errorf("%s: wakes %v", row.name, got)
		}
	}
}

// Before Neutron has been read a pod's groups are not known, and a running pod
// keeps those that it has.
func TestGroupsWaitForNeutron(t *testing.T) {
	t.Parallel()
	c := newPolicyCluster()
	c.Cloud = &cloud.Cloud{}
	var wait intent.Wait
	f := pod.Facts{ClaimFacts: pod.ClaimFacts{Claim: &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: "p.a"}, Spec: v1.IPSpec{Attach: v1.Attach{OVS: &v1.AttachOVS{IfaceID: "id"}}}}}}
	if err := c.pods().gatherGroups(t.Context(), &f); !errors.As(err, &wait) {
		t.Error(err)
	}
	if _, err := (policies.Unit{Client: c.client, Cloud: c.Cloud, Index: c.policies}).GatherGroup(t.Context(), types.NamespacedName{Name: "g"}); !errors.As(err, &wait) {
		t.Error(err)
	}
	if err := c.pods().gatherGroups(t.Context(), &pod.Facts{}); err != nil {
		t.Error(err)
	}
}

// A new label of a pod runs that pod, a new label of a namespace the pods in it.
// Other changes run nothing.
func TestLabelsRunPods(t *testing.T) {
	t.Parallel()
	space := func(name, team string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": team}}}
	}
	elsewhere := podWithLabel("c", "x")
	elsewhere.Namespace = "b"
	c := newPolicyCluster(space("a", "red"), space("b", "red"), podWithLabel("a", "x"), podWithLabel("b", "x"), elsewhere)
	c.Settings.Neutron = &settings.Neutron{}
	for _, row := range []struct {
		name          string
		before, after client.Object
		want          []intent.Unit
	}{
		{"a pod's label", podWithLabel("a", "x"), podWithLabel("a", "y"), []intent.Unit{"pod/a/a"}},
		{"nothing of a pod", podWithLabel("a", "x"), podWithLabel("a", "x"), nil},
		{"a namespace's label", space("a", "red"), space("a", "blue"), []intent.Unit{"pod/a/a", "pod/a/b"}},
		{"nothing of a namespace", space("a", "red"), space("a", "red"), nil},
	} {
		for _, w := range c.triggers().pod() {
			if reflect.TypeOf(w.Of) == reflect.TypeOf(row.after) {
				w.Enqueue(t.Context(), c.queues["pod"], row.before, row.after, false)
			}
		}
		if got := c.queued(); !slices.Equal(got, row.want) {
			t.Errorf("%s: wakes %v", row.name, got)
		}
	}
}
