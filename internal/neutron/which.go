package neutron

import (
	"context"
	"fmt"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PoolOf is the pool that a port which a pod wants would come from. Its errors
// are as those of Apply.
func (f *Fabric) PoolOf(ctx context.Context, p intent.Port) (PoolKey, error) {
	_, k, err := f.ported(ctx, p)
	return k, err
}

// Expect has a pool filled before a pod asks for such a port. Its errors are as
// those of Apply.
func (f *Fabric) Expect(ctx context.Context, p intent.Port) error {
	want, _, err := f.ported(ctx, p)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stock.ask(want, f.always(want))
	f.wakeChores()
	return nil
}

// ported is a port that a pod wants in Neutron's words, and the pool it comes from.
func (f *Fabric) ported(ctx context.Context, p intent.Port) (fields, PoolKey, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, PoolKey{}, err
	}
	w := intent.Want{Ports: []intent.Port{p}}
	around, err := f.around(ctx, a, w, &entry{})
	if err != nil {
		return nil, PoolKey{}, err
	}
	want, err := translate(mark{f.Owner, poolUnit(p.Node)}, w, around)
	if err != nil {
		return nil, PoolKey{}, err
	}
	k, fits := keyOf(want[0].fields, true)
	if !fits {
		return nil, k, intent.Stop{Reason: "InvalidSpec", Why: fmt.Sprintf("there is no pool of ports those on node %s in network %s: they are made one by one", p.Node, p.Network)}
	}
	return want[0].fields, k, nil
}

// GroupName is the name of a security group of ours, by its id.
func (f *Fabric) GroupName(id string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, known := range f.groups.groups {
		if known.id == id {
			return name, true
		}
	}
	return "", false
}
