package portpool

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asks counts a pod that needs a port and gets none.
func (s *pools) asks(want Request) {
	s.ask(want, false)
	s.countUse(want)
}

// fills returns the groups of the pools on a node that get ports, in order.
func fills(s *pools, node string) []string {
	groups := []string{}
	for c := s.next(true); c.verb == createPorts; c = s.next(true) {
		if c.key.Node == node {
			groups = append(groups, c.key.Groups)
		}
	}
	slices.Sort(groups)
	return groups
}

// Pods ask for many sets of groups in one place. The most used ones have filled pools,
// and so has the one that is always filled.
func TestRank(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Batch: 1, Sets: 3}, nil)
	s.ask(in("n1", "standard"), true)
	for i := range 6 {
		for range i {
			s.asks(in("n1", fmt.Sprint("g", i)))
		}
		s.ask(in("n1", fmt.Sprint("g", i)), false) // a pod that has its port: that is no use
	}
	s.asks(in("n2", "g1"))
	if diff := cmp.Diff([]string{"g3", "g4", "g5", "standard"}, fills(s, "n1")); diff != "" {
		t.Error(diff)
	}
	if s.next(true).verb != "" {
		t.Error("all are being filled, but there is more to do")
	}
}

// After a start all pods have their ports, and no new pod may come for a long time. The
// pool that is always filled is filled for the next one.
func TestRunningPodsFillWhatAlwaysIs(t *testing.T) {
	t.Parallel()
	has := func(group, addr string) Request {
		r := in("n1", group)
		r.MAC, r.Addrs = "fa:16:3e:00:00:01", []netip.Addr{netip.MustParseAddr(addr)}
		return r
	}
	s := newPools(&Limits{Min: 1, Batch: 1}, nil)
	s.ask(has("standard", "10.0.0.5"), true)
	s.ask(has("other", "10.0.0.6"), false)
	c := s.next(true)
	if c.verb != createPorts || c.key.Groups != "standard" || s.next(true).verb != "" {
		t.Fatalf("%+v is done first", c)
	}
}

// Networks and projects on a node do not compete: each has its pools.
func TestRankOfEachPlace(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Batch: 1, Sets: 1}, nil)
	want := []string{}
	for i := range 9 {
		for _, field := range []string{"network", "project"} {
			name := fmt.Sprint("of ", field, i)
			for g, times := range map[string]int{name: 2, "little": 1} {
				w := in("n1", g)
				if field == "network" {
					w.Key.Network = fmt.Sprint(i)
				} else {
					w.Key.Project = fmt.Sprint(i)
				}
				for range times {
					s.asks(w)
				}
			}
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, fills(s, "n1")); diff != "" {
		t.Error(diff)
	}
}

// Old uses count less than new ones.
func TestRankForgets(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Batch: 1, Sets: 1}, nil)
	for range 3 * usesUntilHalved {
		s.asks(in("n1", "old"))
	}
	s.asks(in("n1", "never again"))
	for range 2 * usesUntilHalved {
		s.asks(in("n1", "new"))
	}
	if diff := cmp.Diff([]string{"new"}, fills(s, "n1")); diff != "" {
		t.Error(diff)
	}
	if _, kept := s.byKey[Key{Node: "n1", Project: "P", Network: "N", Subnets: "S", Groups: "never again"}]; kept {
		t.Error("what nobody uses, and has no port, is still known")
	}
}

// A port that comes back to a pool that is not kept filled is not taken.
func TestRankTakesNoneBack(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Batch: 1, Sets: 1}, nil)
	s.asks(in("n1", "much"))
	s.asks(in("n1", "much"))
	s.asks(in("n1", "little"))
	if s.returnPort(readyIn("a", "n1", "little")) || !s.returnPort(readyIn("b", "n1", "much")) {
		t.Error("the wrong one is taken back")
	}
}

// A pod whose pool has no ready port gets one of another pool in the same place: first of
// the pools that are not kept filled, then of the fullest.
func TestBorrow(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Batch: 1, Sets: 2}, nil)
	s.asks(in("n1", "b"))
	s.asks(in("n1", "c"))
	s.add(readyIn("left", "n1", "a"), readyIn("b1", "n1", "b"), readyIn("c1", "n1", "c"), readyIn("c2", "n1", "c"), used("dirty", "n1"))
	s.add(readyIn("far", "n2", "a"))
	other := readyIn("other", "n1", "a")
	other.Key.Network = "M"
	s.add(other)
	var got []string
	for o, any := s.borrow(in("n1", "new")); any; o, any = s.borrow(in("n1", "new")) {
		got = append(got, o.ID)
	}
	if diff := cmp.Diff([]string{"left", "c1", "b1", "c2"}, got); diff != "" {
		t.Error(diff)
	}
	w := in("n2", "b")
	w.Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.9")}
	if _, any := s.borrow(w); any {
		t.Error("who asks for an address got another")
	}
}

func TestAddressOfAPortThatIsBeingCleaned(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Max: 2}, nil)
	s.ask(wish("n1"), false)
	s.returnPort(used("a", "n1"))
	want := wish("n2")
	want.Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.9")}
	for _, where := range []string{"returning", "in hand"} {
		if _, ready := s.obtain(want); ready || s.addressFree(want) == nil {
			t.Errorf("a port that is %s is handed out, or not waited for", where)
		}
		if where == "returning" {
			s.next(true)
		}
	}
	if other := wish("n2"); s.addressFree(other) != nil {
		t.Error("who asks for no address waits for it")
	}
}
