package neutron

import (
	"fmt"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// Claims are read before Neutron is. In the meantime a pod may end and the pool get its
// port back.
func TestReturnedPortStaysInPool(t *testing.T) {
	t.Parallel()
	f := startPool(t, neutrontest.New(t), portpool.Limits{Min: 3, Batch: 3})
	held := map[string]intent.Unit{}
	for _, p := range f.PortPool.Pools() {
		for _, o := range f.PortPool.PoolPorts(p.Key) {
			held[o.ID] = "pod/ns/gone"
		}
	}
	if len(held) == 0 {
		t.Fatal("the pool is empty")
	}
	if changed, err := f.Refresh(t.Context(), held); err != nil || len(changed) > 0 {
		t.Errorf("changed %v (%v)", changed, err)
	}
	apply(t, f, "pod/ns/gone", intent.Want{})
	ids := map[string]string{}
	for i := range 8 {
		name := fmt.Sprintf("ns/p%d", i)
		id := apply(t, f, intent.Unit("pod/"+name), podWant(name, "node1")).Ports[name].ID
		if other, twice := ids[id]; twice {
			t.Errorf("%s and %s have port %s", other, name, id)
		}
		ids[id] = name
	}
}
