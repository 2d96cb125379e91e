package neutron

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Limits of each pool of ready ports.
type Limits struct {
	// Min ready ports are kept; more are made, Batch at a time, when there are less.
	Min, Batch int
	// Max ready ports are kept of those that come back; 0 for any number.
	Max int
	// Sets is how many pools are filled of a node's in one network, subnets and
	// project, those that are used most: 8 if 0. A pod whose pool has no port
	// takes one of another of these, and waits until its groups are changed.
	Sets int
	// Always says of the names of groups that their pools on a node are filled
	// besides those; without a node, behind a virtual machine's port. What is not
	// our group has its id for a name. It may be nil.
	Always func(node string, groups []string) bool
	// There tells of a node whether it is, so that its pools are always filled: pods
	// end later than their node, and a pool made for them then would stay. It may be nil.
	There func(node string) bool
}

// PoolStatus is one pool for people.
type PoolStatus struct {
	PoolKey
	// Ready ports wait to be handed out, Returning ones to be cleaned, Making
	// ones to be made.
	Ready, Returning, Making int
}

// stock is all pools. It decides and calls nobody; whoever uses it sees to it
// that only one does at a time.
//
//	made ──▶ ready ──take──▶ a unit's ──give──▶ returning ──cleaned──▶ ready
//	             └───────────── drain, too many ──┴──▶ surplus ──dropped──▶ gone
type stock struct {
	limits  *Limits // nil: there are no pools
	shelves map[PoolKey]*shelf
	surplus []object
	hands   map[string]object // what a chore is at work on, by id
	uses    map[string]int    // how often a node's pods have needed a port
	nodes   map[string]string // where the ports are that others are behind
	// births is how many creations are under way, and early what was found while
	// there are any, by id: it may be theirs.
	births int
	// up tells of a port behind another whether it has been up.
	up    func(object) bool
	early map[string]bool
}

// shelf is one pool.
type shelf struct {
	ready, returning []object
	making           int
	// pattern is what its ports are made like; zero until one was asked for.
	pattern fields
	// paused and dirty last until somebody resumes: Neutron makes none now, or
	// what came back is still in use.
	paused, dirty bool
	tries         map[string]int // of cleaning, by id
	// used is how often pods have needed such a port lately.
	used   int
	always bool
}

func newStock(l *Limits) *stock {
	if l != nil {
		l = &Limits{Min: l.Min, Max: l.Max, Batch: cmp.Or(l.Batch, 5), Sets: cmp.Or(l.Sets, mostSets)}
	}
	return &stock{
		limits: l, shelves: map[PoolKey]*shelf{}, hands: map[string]object{}, uses: map[string]int{}, early: map[string]bool{},
		nodes: map[string]string{}, up: func(object) bool { return false },
	}
}

func (s *stock) shelf(k PoolKey) *shelf {
	if s.shelves[k] == nil {
		s.shelves[k] = &shelf{tries: map[string]int{}}
	}
	return s.shelves[k]
}

// ask tells the pool what ports a pod asks for: such may be kept ready from now on.
// Where they always are, a pod that has its port asks for more like it, too.
func (s *stock) ask(want fields, always bool) {
	if always {
		want = unchosen(want)
	}
	if parent, nested := want["parent"].(string); nested {
		s.nodes[parent], _ = want["node"].(string)
	}
	if k, fits := keyOf(want, true); s.limits != nil && fits {
		h := s.shelf(k)
		h.pattern, h.always = want, always
	}
}

// take hands out the port that has been ready for longest; false if there is none.
func (s *stock) take(want fields) (object, bool) {
	k, fits := keyOf(want, true)
	h := s.shelves[k]
	if !fits || h == nil || len(h.ready) == 0 {
		return object{}, false
	}
	return h.first(s.up), true
}

// give takes a port back that its unit no longer wants; false if there is no
// use for it.
func (s *stock) give(o object) bool {
	if s.knows(o.id) {
		return true // twice in stock it would be handed out twice
	}
	k, fits := s.fit(o)
	h := s.shelves[k]
	if s.limits == nil || !fits || h == nil || s.limits.Max > 0 && h.size() >= s.limits.Max || !s.kept()[k] {
		return false
	}
	h.returning = append(h.returning, o)
	return true
}

func (h *shelf) size() int { return len(h.ready) + len(h.returning) + h.making }

// add puts ports into stock that have been found. Those that bear a unit's
// name must be cleaned first.
func (s *stock) add(found ...object) {
	for _, o := range found {
		k, fits := s.fit(o)
		if s.limits == nil || s.knows(o.id) || s.births > 0 && onItsWay(o) {
			continue
		}
		if s.births > 0 {
			s.early[o.id] = true
		}
		switch {
		case !fits:
			s.surplus = append(s.surplus, o)
		case o.name == pooledName && text(o, "device_id") == "":
			h := s.shelf(k)
			h.ready = append(h.ready, o)
		default:
			h := s.shelf(k)
			h.returning = append(h.returning, o)
		}
	}
}

func (s *stock) knows(id string) bool {
	is := func(o object) bool { return o.id == id }
	for _, h := range s.shelves {
		if slices.ContainsFunc(h.ready, is) || slices.ContainsFunc(h.returning, is) {
			return true
		}
	}
	_, held := s.hands[id]
	return held || slices.ContainsFunc(s.surplus, is)
}

// inGroup tells whether a port of a security group is left in any pool.
func (s *stock) inGroup(id string) bool {
	is := func(o object) bool { return slices.Contains(groupsOf([]object{o}), id) }
	for _, h := range s.shelves {
		if slices.ContainsFunc(h.ready, is) || slices.ContainsFunc(h.returning, is) {
			return true
		}
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(s.hands)), is) || slices.ContainsFunc(s.surplus, is)
}

// keep forgets what is not there any more.
func (s *stock) keep(there func(object) bool) {
	gone := func(o object) bool { return !there(o) }
	for _, h := range s.shelves {
		h.ready = slices.DeleteFunc(h.ready, gone)
		h.returning = slices.DeleteFunc(h.returning, gone)
	}
	s.surplus = slices.DeleteFunc(s.surplus, gone)
}

// drain ends the pools that are meant: their ports are surplus. It counts them.
func (s *stock) drain(meant func(PoolKey) bool) int {
	drained := 0
	for _, k := range s.keys() {
		if h := s.shelves[k]; meant(k) {
			s.surplus = append(append(s.surplus, h.ready...), h.returning...)
			drained += len(h.ready) + len(h.returning)
			delete(s.shelves, k)
		}
	}
	return drained
}

func (s *stock) keys() []PoolKey {
	return slices.SortedFunc(maps.Keys(s.shelves), func(a, b PoolKey) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Network, b.Network),
			strings.Compare(a.Subnets, b.Subnets), strings.Compare(a.Parent, b.Parent), strings.Compare(a.Groups, b.Groups), strings.Compare(a.Project, b.Project))
	})
}

// chore is something to do for a pool; the zero one is nothing.
type chore struct {
	// verb is update to clean the port, remove to delete it, detach to take ports
	// from behind another so that they can be, create to make n.
	verb  verb
	key   PoolKey
	port  object
	ports []object
	n     int
	like  fields
}

// mostTries is how often a port is looked at that came back but is still
// plugged, before it is given up.
const mostTries = 5

// next is the most urgent thing to do, and takes it out of what is left: a
// port that comes back is quicker to have than a new one. Making is left out
// if others need Neutron more.
func (s *stock) next(make bool) chore {
	if s.limits == nil {
		return chore{}
	}
	for _, k := range s.keys() {
		if h := s.shelves[k]; len(h.returning) > 0 && !h.dirty {
			o := h.returning[0]
			h.returning = h.returning[1:]
			h.making++
			s.hands[o.id] = o
			return chore{verb: update, key: k, port: o}
		}
	}
	if c := s.discard(); c.verb != "" {
		return c
	}
	if make {
		return s.refill()
	}
	return chore{}
}

// discard is the deletion of a port that has no use.
func (s *stock) discard() chore {
	if len(s.surplus) == 0 {
		return chore{}
	}
	o := s.surplus[0]
	if text(o, "parent") != "" {
		return s.loosen(text(o, "parent"))
	}
	s.surplus = s.surplus[1:]
	s.hands[o.id] = o
	return chore{verb: remove, port: o}
}

// refill is the making of a few ports for the pool that has the fewest.
func (s *stock) refill() chore {
	var c chore
	least, kept := 0, s.kept()
	for _, k := range s.keys() {
		h := s.shelves[k]
		if !kept[k] || h.paused || h.size() >= s.limits.Min || c.n > 0 && h.size() >= least {
			continue
		}
		least = h.size()
		c = chore{verb: create, key: k, n: s.batch(least), like: h.pattern}
	}
	if c.n > 0 {
		s.begin(c)
	}
	return c
}

func (s *stock) batch(have int) int {
	n := min(s.limits.Batch, bulk)
	if s.limits.Max > 0 {
		n = min(n, max(s.limits.Max, s.limits.Min)-have)
	}
	return n
}

// done ends a chore with what came of it. Of a pool that was drained meanwhile
// all is surplus.
func (s *stock) done(c chore, result []object, err error) {
	delete(s.hands, c.port.id)
	for _, o := range c.ports {
		delete(s.hands, o.id)
	}
	h := s.shelves[c.key]
	switch {
	case c.verb == detach:
		s.surplus = append(result, s.surplus...)
	case c.verb == create:
		s.born(c, s.unseen(result), err)
	case c.verb == remove && err != nil, c.verb == update && h == nil:
		s.surplus = append(s.surplus, c.port)
	case c.verb == remove:
	default:
		h.making = max(0, h.making-1)
		s.cleaned(h, c.port, result, err)
	}
}

// cleaned puts a port that came back where it belongs. It may still be plugged:
// whoever got it then would have two interfaces. Of one behind another only its
// node knows, and sees to it.
func (s *stock) cleaned(h *shelf, was object, result []object, err error) {
	if err == nil && len(result) == 1 && (result[0].fields["status"] != "ACTIVE" || text(result[0], "parent") != "") {
		delete(h.tries, was.id)
		h.ready = append(h.ready, result[0])
		return
	}
	h.dirty = true
	h.tries[was.id]++
	if h.tries[was.id] < mostTries {
		h.returning = append(h.returning, was)
		return
	}
	delete(h.tries, was.id)
	s.surplus = append(s.surplus, was)
}

func (s *stock) resume() {
	for _, h := range s.shelves {
		h.paused, h.dirty = false, false
	}
}

func (s *stock) status() []PoolStatus {
	var out []PoolStatus
	for _, k := range s.keys() {
		h := s.shelves[k]
		out = append(out, PoolStatus{k, len(h.ready), len(h.returning), h.making})
	}
	return out
}

func (s *stock) anyPaused() bool {
	for _, h := range s.shelves {
		if h.paused || h.dirty {
			return true
		}
	}
	return false
}

// isPod tells whether a unit's ports may come from the pool.
func isPod(u intent.Unit) bool { return strings.HasPrefix(string(u), "pod/") }
