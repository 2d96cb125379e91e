package policies

import (
	"context"
	"maps"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
)

// Index has all NetworkPolicies, indexed, and the named ports of pods. It has a
// change before any unit runs because of it: see Events.
type Index struct {
	mu sync.Mutex
	// index is nil if a policy has changed since all were read.
	index *policy.Index
	ports policy.PortCount
}

// NewIndex returns an Index that reads the policies at the first call of Read.
func NewIndex() *Index { return &Index{ports: policy.PortCount{}} }

// Read returns the current policies.
func (p *Index) Read(ctx context.Context, r client.Reader) (*policy.Index, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index == nil {
		var all networkingv1.NetworkPolicyList
		if err := r.List(ctx, &all); err != nil {
			return nil, err
		}
		p.index = policy.NewIndex(kube.Pointers(all.Items))
	}
	return p.index, nil
}

// namedPorts returns the current named ports of pods.
func (p *Index) namedPorts() policy.PortCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.ports)
}

// invalidate makes the next Read read all policies again.
func (p *Index) invalidate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = nil
}

// count replaces a pod's named ports. It returns those that no other pod had
// before or has now.
func (p *Index) count(before, after []policy.NamedPort) []policy.NamedPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ports.Change(before, after)
}
