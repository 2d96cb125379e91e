package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// fabrics is all fabrics behind one verb. A unit has things in one of them: what
// it had in another goes first.
type fabrics struct {
	of map[intent.Fabric]unit.Fabric

	mu sync.Mutex
	// holders are the fabrics that may hold something of a unit.
	holders map[intent.Unit]map[intent.Fabric]bool
}

func newFabrics() *fabrics {
	return &fabrics{of: map[intent.Fabric]unit.Fabric{}, holders: map[intent.Unit]map[intent.Fabric]bool{}}
}

// Apply makes w true on its fabric, and that nothing is left on the others.
func (f *fabrics) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	on := w.Fabric
	if on == "" {
		on = intent.FabricOVN
	}
	if w.Empty() {
		on = ""
	}
	changed := 0
	for _, other := range f.holding(u) {
		if other == on {
			continue
		}
		seen, err := f.of[other].Apply(ctx, u, intent.Want{})
		changed += seen.Changed
		if err != nil {
			return intent.Observed{Changed: changed}, err
		}
		f.mark(u, other, false)
	}
	if on == "" {
		return intent.Observed{Changed: changed}, nil
	}
	one, there := f.of[on]
	if !there {
		return intent.Observed{}, intent.Stop{Reason: "NotConfigured", Why: fmt.Sprintf("provider %s is not configured: the settings lack what it needs", on)}
	}
	f.mark(u, on, true)
	seen, err := one.Apply(ctx, u, w)
	seen.Changed += changed
	return seen, err
}

// holding are the fabrics that may hold something of u, in a fixed order.
func (f *fabrics) holding(u intent.Unit) []intent.Fabric {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.holders[u]))
}

// mark notes whether a fabric may hold something of u.
func (f *fabrics) mark(u intent.Unit, one intent.Fabric, holds bool) {
	if f.of[one] == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !holds:
		delete(f.holders[u], one)
		if len(f.holders[u]) == 0 {
			delete(f.holders, u)
		}
	case f.holders[u] == nil:
		f.holders[u] = map[intent.Fabric]bool{one: true}
	default:
		f.holders[u][one] = true
	}
}
