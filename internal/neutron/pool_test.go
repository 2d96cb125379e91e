package neutron

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// wish is what a pod on a node asks for.
func wish(node string) fields {
	return fields{
		"binding:host_id": node, "project_id": "P", "network_id": "N", "device_owner": deviceOwner,
		"fixed_ips": fixedIPs{{Subnet: "S"}}, "security_groups": set{"G"}, "port_security_enabled": true,
	}
}

// ready is a port of the pool.
func ready(id, node string) object {
	f := wish(node)
	f["fixed_ips"] = fixedIPs{{"S", "10.9.0.9"}}
	f["status"], f["device_id"], f["mac_address"] = "DOWN", "", "fa:16:3e:00:00:01"
	return object{kind: kindPort, name: pooledName, id: id, fields: f}
}

// used is one that came back.
func used(id, node string) object {
	o := ready(id, node)
	o.name, o.fields["device_id"] = "ns/a", "uid"
	return o
}

func (c chore) text() string {
	return fmt.Sprintf("%s %s%s %d", c.verb, c.key.Node, c.port.id, c.n)
}

func TestStockFills(t *testing.T) {
	t.Parallel()
	s := newStock(&Limits{Min: 3, Max: 5, Batch: 2})
	if c := s.next(true); c.verb != "" {
		t.Errorf("nobody has asked for anything, but %s", c.text())
	}
	s.ask(wish("n1"), false)
	if _, any := s.take(wish("n1")); any {
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
	s.done(first, []object{ready("a", "n1"), ready("b", "n1")}, nil)
	s.done(second, nil, errors.New("no"))
	if c := s.next(true); c.verb != "" {
		t.Errorf("Neutron has just failed, but %s", c.text())
	}
	s.resume()
	if diff := cmp.Diff("create n1 2", s.next(true).text()); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"a", "b"} { // the oldest first
		if o, any := s.take(wish("n1")); !any || o.id != want {
			t.Errorf("handed out %s, not %s", o.id, want)
		}
	}
}

func TestStockFitsOnly(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(fields){
		"an address":      func(f fields) { f["fixed_ips"] = fixedIPs{{"S", "10.9.0.9"}} },
		"no subnet":       func(f fields) { f["fixed_ips"] = fixedIPs{{}} },
		"a MAC":           func(f fields) { f["mac_address"] = "02:00:00:00:00:01" },
		"no security":     func(f fields) { f["port_security_enabled"] = false },
		"unknown groups":  func(f fields) { delete(f, "security_groups") },
		"another group":   func(f fields) { f["security_groups"] = set{"H"} },
		"no node":         func(f fields) { f["binding:host_id"] = "" },
		"another node":    func(f fields) { f["binding:host_id"] = "n2" },
		"another subnet":  func(f fields) { f["fixed_ips"] = fixedIPs{{Subnet: "T"}} },
		"another project": func(f fields) { f["project_id"] = "Q" },
	} {
		s := newStock(&Limits{Min: 1})
		s.add(ready("a", "n1"))
		w := wish("n1")
		change(w)
		if _, any := s.take(w); any {
			t.Errorf("who asks for %s got one from the pool", name)
		}
		if _, any := s.take(wish("n1")); !any {
			t.Error("the right one got none")
		}
	}
}

func TestStockTakesBack(t *testing.T) {
	t.Parallel()
	s := newStock(&Limits{Min: 1, Max: 2})
	if s.give(used("a", "n1")) {
		t.Error("nobody asks for such ports")
	}
	s.ask(wish("n1"), false)
	if !s.give(used("a", "n1")) || !s.give(used("b", "n1")) || s.give(used("c", "n1")) {
		t.Error("the pool takes two back, not three")
	}
	c := s.next(true)
	if _, any := s.take(wish("n1")); any {
		t.Error("a port is handed out that has not been cleaned")
	}
	s.done(c, []object{ready("a", "n1")}, nil)
	if o, any := s.take(wish("n1")); !any || o.id != "a" {
		t.Error("a clean port is not handed out")
	}
}

// A port whose old pod is still plugged must not get a second one.
func TestStockWaitsForTheUnplugging(t *testing.T) {
	t.Parallel()
	s := newStock(&Limits{Min: 0})
	s.ask(wish("n1"), false)
	s.give(used("a", "n1"))
	for range mostTries {
		c := s.next(true)
		if c.verb != update {
			t.Fatalf("not cleaned, but %s", c.text())
		}
		up := ready("a", "n1")
		up.fields["status"] = "ACTIVE"
		s.done(c, []object{up}, nil)
		if _, any := s.take(wish("n1")); any {
			t.Fatal("handed out while still plugged")
		}
		s.resume()
	}
	if diff := cmp.Diff("remove a 0", "remove"+s.next(true).text()[len("delete"):]); diff != "" {
		t.Error("it is never given up:", diff)
	}
}

func TestStockDrains(t *testing.T) {
	t.Parallel()
	s := newStock(&Limits{Min: 1})
	s.add(ready("a", "n1"), used("b", "n1"), ready("c", "n2"))
	busy := s.next(true) // cleans b
	s.drain(func(k PoolKey) bool { return k.Node == "n1" })
	s.done(busy, []object{ready("b", "n1")}, nil)
	gone := []string{}
	for c := s.next(true); c.verb == remove; c = s.next(true) {
		gone = append(gone, c.port.id)
		s.done(c, nil, nil)
	}
	if diff := cmp.Diff([]string{"a", "b"}, gone); diff != "" {
		t.Error(diff)
	}
	if st := s.status(); len(st) != 1 || st[0].Node != "n2" || st[0].Ready != 1 {
		t.Errorf("left: %+v", st)
	}
}

// A look finds ports whose making Neutron has not answered yet. A pod takes one:
// the answer neither offers it to another pod nor, where the pool has ended
// meanwhile, has it deleted.
func TestStockFindsWhatIsBeingMade(t *testing.T) {
	t.Parallel()
	for _, drained := range []bool{false, true} {
		s := newStock(&Limits{Min: 2, Batch: 2})
		s.ask(wish("n1"), false)
		making := s.next(true)
		s.add(ready("a", "n1"))
		if o, any := s.take(wish("n1")); !any || o.id != "a" {
			t.Fatal("what was found is not handed out")
		}
		if drained {
			s.drain(func(PoolKey) bool { return true })
		}
		s.done(making, []object{ready("a", "n1"), ready("b", "n1")}, nil)
		left := []string{s.next(false).port.id}
		for o, any := s.take(wish("n1")); any; o, any = s.take(wish("n1")) {
			left = append(left, o.id)
		}
		want := map[bool][]string{false: {"", "b"}, true: {"b"}}[drained]
		if diff := cmp.Diff(want, left); diff != "" || s.next(false).verb != "" {
			t.Errorf("drained: %v: deleted, then handed out: %s", drained, diff)
		}
	}
}

// Whatever happens, in whatever order: no port is in two places, none is lost,
// and none that is a pod's is handed out again.
func TestStockNeverLies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := func(name string, least, most int) int { return rapid.IntRange(least, most).Draw(t, name) }
		s := newStock(&Limits{Min: number("min", 0, 3), Max: number("max", 0, 4), Batch: 2, Sets: number("sets", 1, 3)})
		pods, gone, made, ids := map[string]object{}, map[string]bool{}, 0, 0
		var under []*work
		node, group := rapid.SampledFrom([]string{"n1", "n2"}), rapid.SampledFrom([]string{"G", "H", "I"})
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				w := in(node.Draw(t, "node"), group.Draw(t, "group"))
				s.ask(w, false)
				o, any := s.obtain(w)
				if _, twice := pods[o.id]; any && twice {
					t.Fatalf("%s is handed out twice", o.id)
				}
				if any {
					pods[o.id] = readyIn(o.id, text(o, "binding:host_id"), w["security_groups"].(set)[0])
				}
			},
			"give": func(t *rapid.T) {
				for id, o := range pods {
					delete(pods, id)
					o.name = "ns/a"
					if !s.give(o) {
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
			"look":   func(*rapid.T) { made += look(s, under) },
			"drain":  func(t *rapid.T) { n := node.Draw(t, "node"); s.drain(func(k PoolKey) bool { return k.Node == n }) },
			"resume": func(*rapid.T) { s.resume() },
			"found": func(*rapid.T) {
				made, ids = made+1, ids+1
				o := ready(fmt.Sprint("p", ids), "n1")
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

// total is how many ports a stock knows.
func (s *stock) total() int {
	n := len(s.surplus) + len(s.hands)
	for _, h := range s.shelves {
		n += len(h.ready) + len(h.returning)
	}
	return n
}

// work is a chore under way. What it makes may be found before it ends.
type work struct {
	chore
	makes []object
	known bool
}

func begun(c chore, ids int) *work {
	w := &work{chore: c}
	for i := range c.n {
		w.makes = append(w.makes, readyIn(fmt.Sprint("p", ids+i+1), c.key.Node, c.key.Groups))
	}
	return w
}

// look finds what is being made, and counts what nobody knew of. The next look
// would tell whose it is.
func look(s *stock, under []*work) int {
	found := 0
	for _, w := range under {
		if n := w.found(); n > 0 {
			found += n
			s.add(w.makes...)
		}
	}
	return found
}

// found counts what it has made that nobody knew of.
func (w *work) found() int {
	if w.known {
		return 0
	}
	w.known = true
	return len(w.makes)
}

// end ends it, well or not, and counts what nobody knew of.
func (w *work) end(t *rapid.T, s *stock, gone map[string]bool) int {
	if rapid.Bool().Draw(t, "fails") {
		s.done(w.chore, nil, errors.New("no"))
		return 0
	}
	switch w.verb {
	case create:
		s.done(w.chore, slices.Clone(w.makes), nil)
		return w.found()
	case update:
		s.done(w.chore, []object{readyIn(w.port.id, w.key.Node, w.key.Groups)}, nil)
	case remove:
		gone[w.port.id] = true
		s.done(w.chore, nil, nil)
	case tag:
	}
	return 0
}

func TestHopeless(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		asks bool // again
	}{
		{errors.New("no"), true}, {intent.Wait{Reason: "QuotaExceeded"}, true},
		{intent.Wait{Reason: "NotFound"}, false}, {intent.Stop{}, false},
	} {
		s := newStock(&Limits{Min: 1})
		s.ask(wish("n1"), false)
		s.done(s.next(true), nil, c.err)
		s.resume()
		if again := s.next(true).verb == create; again != c.asks {
			t.Errorf("after %v it tries again: %v", c.err, again)
		}
	}
}
