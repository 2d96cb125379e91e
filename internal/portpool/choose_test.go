package portpool

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// needPort counts a pod that needs a port and gets none.
func (s *pools) needPort(want Request) {
	s.ask(want, false)
	s.countUse(want)
}

// refilled returns the groups of the pools on a node that get ports, in order.
func refilled(s *pools, node string) []string {
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
	s.ask(requestIn("n1", "standard"), true)
	for i := range 6 {
		for range i {
			s.needPort(requestIn("n1", fmt.Sprint("g", i)))
		}
		s.ask(requestIn("n1", fmt.Sprint("g", i)), false) // a pod that has its port: that is no use
	}
	s.needPort(requestIn("n2", "g1"))
	if diff := cmp.Diff([]string{"g3", "g4", "g5", "standard"}, refilled(s, "n1")); diff != "" {
		t.Error(diff)
	}
	if s.next(true).verb != "" {
		t.Error("all are being filled, but there is more to do")
	}
}

// After a start all pods have their ports, and no new pod may come for a long time. The
// pool that is always filled is filled for the next one.
func TestAlwaysFilledAfterStart(t *testing.T) {
	t.Parallel()
	has := func(group, addr string) Request {
		r := requestIn("n1", group)
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
				w := requestIn("n1", g)
				if field == "network" {
					w.Key.Network = fmt.Sprint(i)
				} else {
					w.Key.Project = fmt.Sprint(i)
				}
				for range times {
					s.needPort(w)
				}
			}
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, refilled(s, "n1")); diff != "" {
		t.Error(diff)
	}
}

// Old uses count less than new ones.
func TestRankForgets(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Batch: 1, Sets: 1}, nil)
	for range 3 * usesUntilHalved {
		s.needPort(requestIn("n1", "old"))
	}
	s.needPort(requestIn("n1", "never again"))
	for range 2 * usesUntilHalved {
		s.needPort(requestIn("n1", "new"))
	}
	if diff := cmp.Diff([]string{"new"}, refilled(s, "n1")); diff != "" {
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
	s.needPort(requestIn("n1", "much"))
	s.needPort(requestIn("n1", "much"))
	s.needPort(requestIn("n1", "little"))
	if s.returnPort(readyPortIn("a", "n1", "little")) || !s.returnPort(readyPortIn("b", "n1", "much")) {
		t.Error("the wrong one is taken back")
	}
}

// A pod whose pool has no ready port gets one of another pool in the same place: first of
// the pools that are not kept filled, then of the fullest.
func TestBorrow(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Batch: 1, Sets: 2}, nil)
	s.needPort(requestIn("n1", "b"))
	s.needPort(requestIn("n1", "c"))
	s.add(readyPortIn("left", "n1", "a"), readyPortIn("b1", "n1", "b"), readyPortIn("c1", "n1", "c"), readyPortIn("c2", "n1", "c"), returnedPort("dirty", "n1"))
	s.add(readyPortIn("far", "n2", "a"))
	other := readyPortIn("other", "n1", "a")
	other.Key.Network = "M"
	s.add(other)
	var got []string
	for o, any := s.borrow(requestIn("n1", "new")); any; o, any = s.borrow(requestIn("n1", "new")) {
		got = append(got, o.ID)
	}
	if diff := cmp.Diff([]string{"left", "c1", "b1", "c2"}, got); diff != "" {
		t.Error(diff)
	}
	w := requestIn("n2", "b")
	w.Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.9")}
	if _, any := s.borrow(w); any {
		t.Error("who asks for an address got another")
	}
}

func TestAddressOfAPortThatIsBeingCleaned(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Max: 2}, nil)
	s.ask(request("n1"), false)
	s.returnPort(returnedPort("a", "n1"))
	want := request("n2")
	want.Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.9")}
	for _, where := range []string{"returning", "in hand"} {
		if _, ready := s.obtain(want); ready || s.addressFree(want) == nil {
			t.Errorf("a port that is %s is handed out, or not waited for", where)
		}
		if where == "returning" {
			s.next(true)
		}
	}
	if other := request("n2"); s.addressFree(other) != nil {
		t.Error("who asks for no address waits for it")
	}
}
