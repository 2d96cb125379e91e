package trigger

import (
	"context"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Queues has the queue of each kind of unit. Code that finds a change outside of
// Kubernetes adds units here.
type Queues struct {
	mu sync.Mutex
	of map[string]Queue
	// started receives one value for each controller that has started.
	started chan struct{}
}

// NewQueues returns Queues without any kind.
func NewQueues() *Queues { return &Queues{of: map[string]Queue{}} }

// Expect sets how many kinds there will be. Call it before the first Started.
func (q *Queues) Expect(kinds int) { q.started = make(chan struct{}, kinds) }

// Started records that the controller of a kind has started, and its queue.
func (q *Queues) Started(kind string, one Queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.of[kind] = one
	q.started <- struct{}{}
}

// Wait returns after the controllers of all kinds have started, or with ctx's
// error.
func (q *Queues) Wait(ctx context.Context) error {
	for range cap(q.started) {
		select {
		case <-q.started:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Add runs the unit. It ignores a unit of a kind that has no queue.
func (q *Queues) Add(u intent.Unit) {
	kind, n := ParseUnit(u)
	q.mu.Lock()
	one := q.of[kind]
	q.mu.Unlock()
	if one != nil {
		one.Add(reconcile.Request{NamespacedName: n})
	}
}

// ParseUnit splits a unit's name into the kind and the object's name.
func ParseUnit(u intent.Unit) (kind string, n types.NamespacedName) {
	kind, rest, _ := strings.Cut(string(u), "/")
	if ns, n, ok := strings.Cut(rest, "/"); ok {
		return kind, types.NamespacedName{Namespace: ns, Name: n}
	}
	return kind, types.NamespacedName{Name: rest}
}
