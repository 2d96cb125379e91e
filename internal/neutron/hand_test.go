package neutron

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

func TestStockMore(t *testing.T) {
	t.Parallel()
	s := newStock(&Limits{Min: 1, Max: 4, Batch: 1})
	s.add(ready("a", "n1"))
	k := s.keys()[0]
	c := s.more(k, 9)
	if diff := cmp.Diff("create n1 3", c.text()); diff != "" {
		t.Error("up to the most that a pool has:", diff)
	}
	if fits, is := keyOf(c.like, true); !is || fits != k {
		t.Errorf("what it is made like is of pool %v, not %v", fits, k)
	}
	if more := s.more(k, 1); more.verb != "" {
		t.Errorf("the pool is full, but %s", more.text())
	}
	s.done(c, []object{ready("b", "n1"), ready("c", "n1"), ready("d", "n1")}, nil)
	if st := s.status()[0]; st.Ready != 4 || st.Making != 0 {
		t.Errorf("%+v", st)
	}
	if c := s.next(true); c.verb != "" {
		t.Errorf("no pod has asked for such, but %s", c.text())
	}
	none := newStock(&Limits{Min: 1})
	if c := none.more(PoolKey{Node: "n1"}, 1); c.verb != "" || len(none.status()) > 0 {
		t.Errorf("that is no pool, but %s", c.text())
	}
	if c := newStock(&Limits{Min: 1}).more(k, 11); c.n != bulk {
		t.Errorf("%d in one call", c.n)
	}
}

func TestStockPorts(t *testing.T) {
	t.Parallel()
	s := newStock(&Limits{Min: 1})
	s.add(ready("a", "n1"), used("b", "n1"), ready("c", "n2"))
	got := s.ports(s.keys()[0])
	if len(got) != 2 || got[0].ID != "a" || got[0].State != PortReady || got[1].ID != "b" || got[1].State != PortReturning ||
		len(got[0].Addrs) != 1 || got[0].Addrs[0].String() != "10.9.0.9" {
		t.Errorf("%+v", got)
	}
	if got := s.ports(PoolKey{}); got != nil {
		t.Errorf("of no pool: %+v", got)
	}
}

// An operator fills a pool beyond what it keeps, and empties it again.
func TestFillAndFree(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := pool(t, c, Limits{Min: 1, Max: 15, Batch: 1})
	k := f.Pools()[0].PoolKey
	if n, err := f.Fill(t.Context(), k, 20); n != 14 || err != nil {
		t.Errorf("%d were made (%v)", n, err)
	}
	if ports := f.PoolPorts(k); len(ports) != 15 || !ports[14].Addrs[0].Is4() {
		t.Errorf("the pool's ports: %+v", ports)
	}
	if n, err := f.Free(t.Context(), func(o PoolKey) bool { return o != k }); n != 0 || err != nil {
		t.Errorf("%d of other pools were freed (%v)", n, err)
	}
	if n, err := f.Free(t.Context(), func(o PoolKey) bool { return o.Node == "node1" }); n != 15 || err != nil {
		t.Errorf("%d were freed (%v)", n, err)
	}
	eventually(t, time.Minute, "they are gone", func() bool { return cmp.Equal([]string{"ns/first"}, c.Names("ports")) })
	if p := f.Pools(); len(p) != 0 {
		t.Errorf("there is still %+v", p)
	}
	apply(t, f, "pod/ns/next", podWant("ns/next", "node1")) // asks for such ports, so they are kept again
	full(t, f, 1)
}

func TestFillSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := pool(t, c, Limits{Min: 1, Batch: 1})
	k := f.Pools()[0].PoolKey
	c.Fail(func(int, *http.Request) *neutrontest.Fault {
		return &neutrontest.Fault{Code: http.StatusConflict, Word: "OverQuota", Text: "Quota exceeded for resources: ['port']."}
	})
	if n, err := f.Fill(t.Context(), k, 2); n != 0 || reason(err) != "QuotaExceeded" {
		t.Errorf("%d were made (%v)", n, err)
	}
	c.Fail(nil)
	k.Node = ""
	if _, err := f.Fill(t.Context(), k, 2); !errors.As(err, &intent.Stop{}) {
		t.Errorf("a pool of no node: %v", err)
	}
	off := start(t, c, nil)
	if _, err := off.Fill(t.Context(), k, 2); !errors.As(err, &intent.Stop{}) {
		t.Errorf("there are no pools: %v", err)
	}
}
