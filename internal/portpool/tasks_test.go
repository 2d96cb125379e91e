package portpool

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPoolsMore(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Max: 4, Batch: 1}, nil)
	s.add(readyPort("a", "n1"))
	k := s.byKey.keys()[0]
	c := s.createMore(k, 9)
	if diff := cmp.Diff("create n1 3", c.text()); diff != "" {
		t.Error("up to the most that a pool has:", diff)
	}
	if c.key != k {
		t.Errorf("ports are created for pool %v, not %v", c.key, k)
	}
	if more := s.createMore(k, 1); more.verb != "" {
		t.Errorf("the pool is full, but %s", more.text())
	}
	s.done(c, []Port{readyPort("b", "n1"), readyPort("c", "n1"), readyPort("d", "n1")}, nil)
	if st := s.byKey.status()[0]; st.Ready != 4 || st.Making != 0 {
		t.Errorf("%+v", st)
	}
	if c := s.next(true); c.verb != "" {
		t.Errorf("no pod has asked for such, but %s", c.text())
	}
	none := newPools(&Limits{Min: 1}, nil)
	if c := none.createMore(Key{Node: "n1"}, 1); c.verb != "" || len(none.byKey.status()) > 0 {
		t.Errorf("that is no pool, but %s", c.text())
	}
	if c := newPools(&Limits{Min: 1}, nil).createMore(k, 11); c.n != perTask {
		t.Errorf("%d in one call", c.n)
	}
}

func TestPoolsPorts(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1}, nil)
	s.add(readyPort("a", "n1"), returnedPort("b", "n1"), readyPort("c", "n2"))
	got := s.byKey.ports(s.byKey.keys()[0])
	if len(got) != 2 || got[0].ID != "a" || got[0].State != StateReady || got[1].ID != "b" || got[1].State != StateReturning ||
		len(got[0].Addrs) != 1 || got[0].Addrs[0].String() != "10.9.0.9" {
		t.Errorf("%+v", got)
	}
	if got := s.byKey.ports(Key{}); got != nil {
		t.Errorf("of no pool: %+v", got)
	}
}

func TestPoolsTakesNothingTwice(t *testing.T) {
	s := newPools(&Limits{Min: 1}, nil)
	s.needPort(request("n1"))
	o := readyPort("1", "n1")
	s.add(o)
	if !s.returnPort(o) || s.byKey.status()[0].Ready != 1 || s.byKey.status()[0].Returning != 0 {
		t.Errorf("a port that is in stock came back: %+v", s.byKey.status())
	}
}
