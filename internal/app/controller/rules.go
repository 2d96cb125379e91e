package controller

import (
	"context"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
)

// rules are all NetworkPolicies, read, and the named ports that pods have. They
// are told of a change before anybody is woken by it, which is why one handler
// does both: see watchRules.
type rules struct {
	mu sync.Mutex
	// book is nil if a policy has changed since all were read.
	book  *policy.Index
	ports policy.PortCount
}

func newRules() *rules {
	return &rules{ports: policy.PortCount{}}
}

// read returns the policies as they are now.
func (r *rules) read(ctx context.Context, from client.Reader) (*policy.Index, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.book == nil {
		var all networkingv1.NetworkPolicyList
		if err := from.List(ctx, &all); err != nil {
			return nil, err
		}
		r.book = policy.NewIndex(kube.Pointers(all.Items))
	}
	return r.book, nil
}

// inUse are the named ports as they are now.
func (r *rules) inUse() policy.PortCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.ports)
}

func (r *rules) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.book = nil
}

func (r *rules) count(before, after []policy.NamedPort) []policy.NamedPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ports.Change(before, after)
}

// watchRules tells the rules of policies and named ports until ctx ends, and
// wakes whom that concerns. It returns when the rules know all that there are:
// whoever decides with less takes something from pods that run.
func (c *cluster) watchRules(ctx context.Context) error {
	if c.settings.Neutron == nil {
		return nil
	}
	err := watch(ctx, c, func(before, after *networkingv1.NetworkPolicy, first bool) {
		c.policyChanged(ctx, before, after, first)
	})
	if err != nil {
		return err
	}
	return watch(ctx, c, func(before, after *corev1.Pod, first bool) { c.portsChanged(ctx, before, after, first) })
}

// watch calls do for what there is, which is first, and for each change; before
// is nil for a new object, after for one that is gone.
func watch[T any, P interface {
	*T
	client.Object
}](ctx context.Context, c *cluster, do func(before, after P, first bool)) error {
	i, err := c.cache.GetInformer(ctx, P(new(T)))
	if err != nil {
		return err
	}
	all, err := i.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(o any, first bool) { do(nil, o.(P), first) },
		UpdateFunc: func(before, after any) { do(before.(P), after.(P), false) },
		DeleteFunc: func(o any) {
			if missed, is := o.(toolscache.DeletedFinalStateUnknown); is {
				o = missed.Obj
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
