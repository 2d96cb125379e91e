package neutron

import (
	"context"
	"fmt"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PoolOf is the pool that a port which a pod wants would come from. Its errors
// are as those of Apply.
func (f *Fabric) PoolOf(ctx context.Context, p intent.Port) (PoolKey, error) {
	a, err := f.api(ctx)
	if err != nil {
		return PoolKey{}, err
	}
	w := intent.Want{Ports: []intent.Port{p}}
	around, err := f.around(ctx, a, w, &entry{})
	if err != nil {
		return PoolKey{}, err
	}
	want, err := translate(mark{f.Owner, poolUnit(p.Node)}, w, around)
	if err != nil {
		return PoolKey{}, err
	}
	k, fits := keyOf(want[0].fields, true)
	if !fits {
		return k, intent.Stop{Reason: "InvalidSpec", Why: fmt.Sprintf("there is no pool of ports those on node %s in network %s: they are made one by one", p.Node, p.Segment)}
	}
	return k, nil
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
