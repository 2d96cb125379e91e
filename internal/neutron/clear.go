package neutron

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

// Owned describes all objects of this owner, in about the order in which Clear deletes them.
func (f *Fabric) Owned(ctx context.Context) ([]string, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	all, _, err := a.OfCluster(ctx, f.Owner)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, u := range deletionOrder(all) {
		for _, s := range plan.Diff(all[u], nil, nil) {
			if s.Verb == plan.Delete {
				out = append(out, describe(s.Object))
			}
		}
	}
	return out, nil
}

func describe(o plan.Object) string {
	return fmt.Sprintf("%s (%s)", client.Describe([]plan.Step{{Object: o}}), o.ID)
}

// deletionOrder sorts the units with ports first: networks and groups cannot be deleted
// while ports use them.
func deletionOrder(all map[intent.Unit][]plan.Object) []intent.Unit {
	units := slices.Sorted(maps.Keys(all))
	without := func(u intent.Unit) int {
		if slices.ContainsFunc(all[u], func(o plan.Object) bool { return o.Kind == plan.KindPort }) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(units, func(a, b intent.Unit) int { return without(a) - without(b) })
	return units
}

// Clear deletes all objects of this owner, the pool included, and returns how many units it
// has cleared. Objects that foreign ports use stay, and the error names them. Clear returns
// when a pass clears no unit; the caller decides whether to try again.
func (f *Fabric) Clear(ctx context.Context) (int, error) {
	if err := f.PortPool.Stop(ctx); err != nil {
		return 0, err
	}
	a, err := f.api(ctx)
	if err != nil {
		return 0, err
	}
	cleared := 0
	for {
		all, _, err := a.OfCluster(ctx, f.Owner)
		if err != nil || len(all) == 0 {
			return cleared, err
		}
		done, err := f.clearAll(ctx, all)
		cleared += done
		if done == 0 { // units may wait for others; if none could be cleared, another pass does not help
			return cleared, err
		}
	}
}

func (f *Fabric) clearAll(ctx context.Context, all map[intent.Unit][]plan.Object) (int, error) {
	done := 0
	var errs []error
	for _, u := range deletionOrder(all) {
		e := f.enter(u)
		e.objects, e.sure = all[u], true
		_, err := f.apply(ctx, u, intent.Want{}, e)
		f.leave(u, e)
		if err == nil {
			done++
		}
		errs = append(errs, err)
	}
	return done, errors.Join(errs...)
}
