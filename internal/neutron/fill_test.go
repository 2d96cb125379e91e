package neutron

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// An operator fills a pool beyond the number that it keeps, and frees it again.
func TestFillAndFree(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := startPool(t, c, portpool.Limits{Min: 1, Max: 15, Batch: 1})
	k := f.PortPool.Pools()[0].Key
	if n, err := f.PortPool.Fill(t.Context(), k, 20); n != 14 || err != nil {
		t.Errorf("%d were made (%v)", n, err)
	}
	if ports := f.PortPool.PoolPorts(k); len(ports) != 15 || !ports[14].Addrs[0].Is4() {
		t.Errorf("the pool's ports: %+v", ports)
	}
	if n, err := f.PortPool.Free(t.Context(), func(o portpool.Key) bool { return o != k }); n != 0 || err != nil {
		t.Errorf("%d of other pools were freed (%v)", n, err)
	}
	if n, err := f.PortPool.Free(t.Context(), func(o portpool.Key) bool { return o.Node == "node1" }); n != 15 || err != nil {
		t.Errorf("%d were freed (%v)", n, err)
	}
	eventually(t, time.Minute, "they are gone", func() bool { return cmp.Equal([]string{"ns/first"}, c.Names("ports")) })
	if p := f.PortPool.Pools(); len(p) != 0 {
		t.Errorf("there is still %+v", p)
	}
	apply(t, f, "pod/ns/next", podWant("ns/next", "node1")) // asks for such ports, so they are kept again
	awaitFull(t, f, 1)
}

func TestFillErrors(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := startPool(t, c, portpool.Limits{Min: 1, Batch: 1})
	k := f.PortPool.Pools()[0].Key
	c.Fail(func(int, *http.Request) *neutrontest.Fault {
		return &neutrontest.Fault{Code: http.StatusConflict, Word: "OverQuota", Text: "Quota exceeded for resources: ['port']."}
	})
	if n, err := f.PortPool.Fill(t.Context(), k, 2); n != 0 || reason(err) != "QuotaExceeded" {
		t.Errorf("%d were made (%v)", n, err)
	}
	c.Fail(nil)
	k.Node = ""
	if _, err := f.PortPool.Fill(t.Context(), k, 2); !errors.As(err, &intent.Stop{}) {
		t.Errorf("a pool of no node: %v", err)
	}
	off := start(t, c, nil)
	if _, err := off.PortPool.Fill(t.Context(), k, 2); !errors.As(err, &intent.Stop{}) {
		t.Errorf("there are no pools: %v", err)
	}
}
