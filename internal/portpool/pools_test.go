package portpool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// request is the request of a pod on a node.
func request(node string) Request { return requestIn(node, "G") }

// requestIn is the request of a pod on a node that is in a group.
func requestIn(node, group string) Request {
	return Request{
		Key:     Key{Node: node, Project: "P", Network: "N", Subnets: "S", Groups: group},
		Address: Address{Network: "N"}, Fits: true, Accepts: func(Port) bool { return true },
	}
}

// readyPort is a ready port of a pool.
func readyPort(id, node string) Port { return readyPortIn(id, node, "G") }

func readyPortIn(id, node, group string) Port {
	return Port{
		ID: id, Key: requestIn(node, group).Key, Fits: true, Clean: true,
		Address: Address{"N", "fa:16:3e:00:00:01", []netip.Addr{netip.MustParseAddr("10.9.0.9")}},
	}
}

// returnedPort is a port that came back from a pod.
func returnedPort(id, node string) Port {
	o := readyPort(id, node)
	o.Clean = false
	return o
}

func (c task) text() string {
	id := c.port.ID
	for _, o := range c.gone {
		id += o.ID
	}
	return fmt.Sprintf("%s %s%s %d", c.verb, c.key.Node, id, c.n)
}

func TestPoolsFills(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 3, Max: 5, Batch: 2}, nil)
	if c := s.next(true); c.verb != "" {
		t.Errorf("nobody has asked for anything, but %s", c.text())
	}
	s.ask(request("n1"), false)
	if _, any := s.take(request("n1")); any {
		t.Error("an empty pool has a port")
	}
	if c := s.next(false); c.verb != "" {
		t.Errorf("others need Neutron more, but %s", c.text())
	}
	first := s.next(true)
	second := s.next(true)
	if diff := cmp.Diff([]string{"create n1 2", "create n1 2", "  0"}, []string{first.text(), second.text(), s.next(true).text()}); diff != "" {
		t.Error(diff)
	}
	s.done(first, []Port{readyPort("a", "n1"), readyPort("b", "n1")}, nil)
	s.done(second, nil, errors.New("no"))
	if c := s.next(true); c.verb != "" {
		t.Errorf("Neutron has just failed, but %s", c.text())
	}
	s.byKey.resume()
	if diff := cmp.Diff("create n1 2", s.next(true).text()); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"a", "b"} { // the oldest first
		if o, any := s.take(request("n1")); !any || o.ID != want {
			t.Errorf("handed out %s, not %s", o.ID, want)
		}
	}
}

func TestPoolsTakesBack(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1, Max: 2}, nil)
	if s.returnPort(returnedPort("a", "n1")) {
		t.Error("nobody asks for such ports")
	}
	s.ask(request("n1"), false)
	if !s.returnPort(returnedPort("a", "n1")) || !s.returnPort(returnedPort("b", "n1")) || s.returnPort(returnedPort("c", "n1")) {
		t.Error("the pool takes two back, not three")
	}
	c := s.next(true)
	if _, any := s.take(request("n1")); any {
		t.Error("a port is handed out that has not been cleaned")
	}
	s.done(c, []Port{readyPort("a", "n1")}, nil)
	if o, any := s.take(request("n1")); !any || o.ID != "a" {
		t.Error("a clean port is not handed out")
	}
}

// A port whose old pod is still plugged is not handed out.
func TestPoolsWaitForUnplugging(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 0}, nil)
	s.ask(request("n1"), false)
	s.returnPort(returnedPort("a", "n1"))
	for range cleanAttempts {
		c := s.next(true)
		if c.verb != cleanPort {
			t.Fatalf("not cleaned, but %s", c.text())
		}
		up := readyPort("a", "n1")
		up.Plugged = true
		s.done(c, []Port{up}, nil)
		if _, any := s.take(request("n1")); any {
			t.Fatal("handed out while still plugged")
		}
		s.byKey.resume()
	}
	if diff := cmp.Diff("delete a 0", s.next(true).text()); diff != "" {
		t.Error("it is never given up:", diff)
	}
}

func TestPoolsDrains(t *testing.T) {
	t.Parallel()
	s := newPools(&Limits{Min: 1}, nil)
	s.add(readyPort("a", "n1"), returnedPort("b", "n1"), readyPort("c", "n2"))
	busy := s.next(true) // cleans b
	s.drain(func(k Key) bool { return k.Node == "n1" })
	s.done(busy, []Port{readyPort("b", "n1")}, nil)
	gone := []string{}
	for c := s.next(true); c.verb == deletePorts; c = s.next(true) {
		gone = append(gone, c.gone[0].ID)
		s.done(c, nil, nil)
	}
	if diff := cmp.Diff([]string{"a", "b"}, gone); diff != "" {
		t.Error(diff)
	}
	if st := s.byKey.status(); len(st) != 1 || st[0].Node != "n2" || st[0].Ready != 1 {
		t.Errorf("left: %+v", st)
	}
}

// A read finds ports before the answer of the call that creates them, and a pod takes
// one. The answer neither makes the port ready again nor, if the pool was drained
// meanwhile, makes it surplus.
func TestPoolsFindPortsBeingCreated(t *testing.T) {
	t.Parallel()
	for _, drained := range []bool{false, true} {
		s := newPools(&Limits{Min: 2, Batch: 2}, nil)
		s.ask(request("n1"), false)
		making := s.next(true)
		s.add(readyPort("a", "n1"))
		if o, any := s.take(request("n1")); !any || o.ID != "a" {
			t.Fatal("what was found is not handed out")
		}
		if drained {
			s.drain(func(Key) bool { return true })
		}
		s.done(making, []Port{readyPort("a", "n1"), readyPort("b", "n1")}, nil)
		left := []string{surplus(s.next(false))}
		for o, any := s.take(request("n1")); any; o, any = s.take(request("n1")) {
			left = append(left, o.ID)
		}
		want := map[bool][]string{false: {"", "b"}, true: {"b"}}[drained]
		if diff := cmp.Diff(want, left); diff != "" || s.next(false).verb != "" {
			t.Errorf("drained: %v: deleted, then handed out: %s", drained, diff)
		}
	}
}

// In any order of events, no port is in two places, none is lost, and none that belongs
// to a pod is handed out again.
func TestPoolsNeverHandOutTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := func(name string, least, most int) int { return rapid.IntRange(least, most).Draw(t, name) }
		s := newPools(&Limits{Min: number("min", 0, 3), Max: number("max", 0, 4), Batch: 2, Sets: number("sets", 1, 3)}, nil)
		pods, gone, made, ids := map[string]Port{}, map[string]bool{}, 0, 0
		var under []*work
		node, group := rapid.SampledFrom([]string{"n1", "n2"}), rapid.SampledFrom([]string{"G", "H", "I"})
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				w := requestIn(node.Draw(t, "node"), group.Draw(t, "group"))
				s.ask(w, false)
				o, any := s.obtain(w)
				if _, twice := pods[o.ID]; any && twice {
					t.Fatalf("%s is handed out twice", o.ID)
				}
				if any {
					pods[o.ID] = readyPortIn(o.ID, o.Key.Node, w.Key.Groups)
				}
			},
			"give": func(*rapid.T) {
				for id, o := range pods {
					delete(pods, id)
					o.Clean = false
					if !s.returnPort(o) {
						gone[id] = true
					}
					break
				}
			},
			"begin": func(*rapid.T) {
				if c := s.next(true); c.verb != "" {
					under = append(under, begun(c, ids))
					ids += c.n
				}
			},
			"end": func(t *rapid.T) {
				if len(under) == 0 {
					t.Skip("nothing under way")
				}
				w := under[0]
				under = under[1:]
				made += w.end(t, s, gone)
			},
			"look":   func(*rapid.T) { made += findPorts(s, under) },
			"drain":  func(t *rapid.T) { n := node.Draw(t, "node"); s.drain(func(k Key) bool { return k.Node == n }) },
			"resume": func(*rapid.T) { s.byKey.resume() },
			"found": func(*rapid.T) {
				made, ids = made+1, ids+1
				o := readyPort(fmt.Sprint("p", ids), "n1")
				s.add(o, o)
			},
			"": func(t *rapid.T) {
				if total := len(pods) + len(gone) + s.total(); total != made {
					t.Fatalf("%d ports were made, %d are accounted for", made, total)
				}
			},
		})
	})
}

// total returns the number of known ports.
func (s *pools) total() int {
	n := len(s.surplus) + len(s.inTask)
	for _, h := range s.byKey {
		n += len(h.ready) + len(h.returning)
	}
	return n
}

// work is a running task. The ports that it creates may be found before it ends.
type work struct {
	task
	makes []Port
	known bool
}

func begun(c task, ids int) *work {
	w := &work{task: c}
	for i := range c.n {
		w.makes = append(w.makes, readyPortIn(fmt.Sprint("p", ids+i+1), c.key.Node, c.key.Groups))
	}
	return w
}

// findPorts finds the ports that are being created, and returns how many of them were
// unknown.
func findPorts(s *pools, under []*work) int {
	found := 0
	for _, w := range under {
		if n := w.found(); n > 0 {
			found += n
			s.add(w.makes...)
		}
	}
	return found
}

// found returns how many of the new ports were unknown, and marks them as known.
func (w *work) found() int {
	if w.known {
		return 0
	}
	w.known = true
	return len(w.makes)
}

// end ends the task, with or without an error, and returns how many ports were unknown.
func (w *work) end(t *rapid.T, s *pools, gone map[string]bool) int {
	if rapid.Bool().Draw(t, "fails") {
		s.done(w.task, w.gone, errors.New("no")) // the ports to delete are left
		return 0
	}
	switch w.verb {
	case createPorts:
		s.done(w.task, slices.Clone(w.makes), nil)
		return w.found()
	case cleanPort:
		s.done(w.task, []Port{readyPortIn(w.port.ID, w.key.Node, w.key.Groups)}, nil)
	case deletePorts:
		gone[w.task.gone[0].ID] = true
		s.done(w.task, nil, nil)
	}
	return 0
}

func TestHopeless(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		asks bool // whether the pool is asked for again
	}{
		{errors.New("no"), true},
		{intent.Wait{Reason: "QuotaExceeded"}, true},
		{intent.Wait{Reason: "NotFound"}, false},
		{intent.Stop{}, false},
	} {
		s := newPools(&Limits{Min: 1}, nil)
		s.ask(request("n1"), false)
		s.done(s.next(true), nil, c.err)
		s.byKey.resume()
		if again := s.next(true).verb == createPorts; again != c.asks {
			t.Errorf("after %v it tries again: %v", c.err, again)
		}
	}
}

// surplus returns the id of the port that a task deletes, empty if it deletes none.
func surplus(t task) string {
	if t.verb != deletePorts {
		return ""
	}
	return t.gone[0].ID
}
