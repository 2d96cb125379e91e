package policies

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Events keeps the policy index current, and runs the units that a change of a
// policy or of a named port affects. One handler does both, because the index
// must have the change before a unit reads it.
type Events struct {
	Client client.Client
	Index  *Index
	Queues *trigger.Queues
}

// Watch follows policies and named ports until ctx ends. It returns when the
// index has all existing ones: a unit that decides with fewer policies would
// remove groups from running pods.
func (e Events) Watch(ctx context.Context, c cache.Cache) error {
	err := follow(ctx, c, func(before, after *networkingv1.NetworkPolicy, initial bool) {
		e.PolicyChanged(ctx, before, after, initial)
	})
	if err != nil {
		return err
	}
	return follow(ctx, c, func(before, after *corev1.Pod, initial bool) { e.PortsChanged(ctx, before, after, initial) })
}

// follow calls do for each existing object, with initial true, and for each
// change. before is nil for a new object, after for a deleted one. It returns
// after do has been called for all existing objects.
func follow[T any, P interface {
	*T
	client.Object
}](ctx context.Context, c cache.Cache, do func(before, after P, initial bool)) error {
	i, err := c.GetInformer(ctx, P(new(T)))
	if err != nil {
		return err
	}
	all, err := i.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(o any, initial bool) { do(nil, o.(P), initial) },
		UpdateFunc: func(before, after any) { do(before.(P), after.(P), false) },
		DeleteFunc: func(o any) {
			if final, is := o.(toolscache.DeletedFinalStateUnknown); is {
				o = final.Obj
			}
			do(o.(P), nil, false)
		},
	})
	if err != nil {
		return err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), all.HasSynced) {
		return ctx.Err()
	}
	return nil
}

// PolicyChanged runs the policy, the groups of its peers, and the pods that it
// selects or selected. For an initial policy RunAll does that.
func (e Events) PolicyChanged(ctx context.Context, before, after *networkingv1.NetworkPolicy, initial bool) {
	if before != nil && after != nil && before.UID == after.UID && before.Generation == after.Generation {
		return
	}
	e.Index.invalidate()
	if initial {
		return
	}
	for _, u := range e.affected(ctx, before, after) {
		e.Queues.Add(u)
	}
}

// affected returns the units that a policy affects in any of its states. A nil
// state is that of a policy that does not exist.
func (e Events) affected(ctx context.Context, states ...*networkingv1.NetworkPolicy) []intent.Unit {
	ports := e.Index.namedPorts()
	var units []intent.Unit
	var affects []func(policy.Pod) bool
	for _, np := range states {
		if np == nil {
			continue
		}
		units = append(units, policy.Unit(np.Namespace, np.Name))
		units = append(units, policy.SharedGroups(np, ports)...)
		affects = append(affects, policy.Affects(np))
	}
	for _, n := range e.pods(ctx, affects...) {
		units = append(units, decide.PodUnit(n.Namespace, n.Name))
	}
	return units
}

// pods returns the pods on Neutron for which one of the functions is true.
func (e Events) pods(ctx context.Context, fit ...func(policy.Pod) bool) []types.NamespacedName {
	all, podsErr := kube.Pods(ctx, e.Client)
	spaces, spacesErr := kube.Namespaces(ctx, e.Client)
	if podsErr != nil || spacesErr != nil {
		return nil
	}
	of := map[string]*corev1.Namespace{}
	for _, ns := range spaces {
		of[ns.Name] = ns
	}
	var out []types.NamespacedName
	for _, p := range all {
		claim, _ := kube.Get[v1.IP](ctx, e.Client, types.NamespacedName{Name: decide.PodPort(p.Namespace, p.Name)})
		pod, is := policyPod(p, of[p.Namespace], claim)
		for _, fits := range fit {
			if is && fits(pod) {
				out = append(out, client.ObjectKeyFromObject(p))
				break
			}
		}
	}
	return out
}

// PortsChanged runs the policies and groups that use a named port, if the pod is
// the first to have it with that number, or was the last.
func (e Events) PortsChanged(ctx context.Context, before, after *corev1.Pod, initial bool) {
	changed := e.Index.count(namedPorts(before), namedPorts(after))
	if len(changed) == 0 || initial {
		return
	}
	index, err := e.Index.Read(ctx, e.Client)
	if err != nil {
		return
	}
	policies, groups := index.UsingPorts(changed)
	for _, n := range policies {
		e.Queues.Add(policy.Unit(n.Namespace, n.Name))
	}
	for _, g := range groups {
		e.Queues.Add(g)
	}
}

// namedPorts returns a pod's named ports; none if it needs no port of ours. p may
// be nil.
func namedPorts(p *corev1.Pod) []policy.NamedPort {
	if !pod.NeedsPort(p) {
		return nil
	}
	return policy.NamedPortsOf(p)
}

// UsingServices is a map function. It returns the policies that depend on
// Services and their members.
func (e Events) UsingServices(ctx context.Context, _ client.Object) []types.NamespacedName {
	index, err := e.Index.Read(ctx, e.Client)
	if err != nil {
		return nil
	}
	return index.UsingServices()
}

// RunAll runs all policies and groups.
func (e Events) RunAll(ctx context.Context) error {
	index, err := e.Index.Read(ctx, e.Client)
	if err != nil {
		return err
	}
	for _, n := range index.All() {
		e.Queues.Add(policy.Unit(n.Namespace, n.Name))
	}
	for u := range index.Groups(e.Index.namedPorts()) {
		e.Queues.Add(u)
	}
	return nil
}
