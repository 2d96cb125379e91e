// Package fabrics dispatches what units want to the fabrics: OVN, Neutron and
// Octavia. It knows which fabrics may have something of a unit, and removes that
// when the unit moves to another fabric.
package fabrics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// Fabrics is a unit.Fabric that applies a want to the fabric that the want names.
// A unit has something in one fabric at a time: what it had in another one is
// removed first.
type Fabrics struct {
	of map[intent.Fabric]unit.Fabric

	mu sync.Mutex
	// holders are the fabrics that may have something of a unit.
	holders map[intent.Unit]map[intent.Fabric]bool
}

// New returns Fabrics without any fabric.
func New() *Fabrics {
	return &Fabrics{of: map[intent.Fabric]unit.Fabric{}, holders: map[intent.Unit]map[intent.Fabric]bool{}}
}

// Add adds a fabric. Call it before anything else.
func (f *Fabrics) Add(name intent.Fabric, one unit.Fabric) { f.of[name] = one }

// Apply applies w to its fabric, after it has removed what other fabrics have of
// u. It returns an intent.Stop if the settings do not configure the fabric.
func (f *Fabrics) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
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
		f.Mark(u, other, false)
	}
	if on == "" {
		return intent.Observed{Changed: changed}, nil
	}
	one, there := f.of[on]
	if !there {
		return intent.Observed{}, intent.Stop{Reason: "NotConfigured", Why: fmt.Sprintf("provider %s is not configured: the settings lack what it needs", on)}
	}
	f.Mark(u, on, true)
	seen, err := one.Apply(ctx, u, w)
	seen.Changed += changed
	return seen, err
}

// holding returns the fabrics that may have something of u, sorted.
func (f *Fabrics) holding(u intent.Unit) []intent.Fabric {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.holders[u]))
}

// Mark records whether a fabric may have something of u. It ignores a fabric that
// was not added.
func (f *Fabrics) Mark(u intent.Unit, one intent.Fabric, holds bool) {
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
