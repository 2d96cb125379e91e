package neutron

import (
	"cmp"
	"slices"
)

// mostSets is how many pools of one place are filled, if Limits do not say.
const mostSets = 8

// fade is how many uses of a node's pools it takes until a use counts half.
const fade = 64

// use notes that a pod needs a port that has to come from somewhere.
func (s *stock) use(want fields) {
	k, fits := keyOf(want, true)
	if s.limits == nil || !fits {
		return
	}
	s.shelf(k).used++
	s.uses[k.Node]++
	if s.uses[k.Node]%fade == 0 {
		s.age(k.Node)
	}
}

// obtain hands out a port for a pod that needs one: such as is wanted, or one
// that must be changed for it.
func (s *stock) obtain(want fields) (object, bool) {
	if o, ready := s.chosen(want); ready {
		return o, true
	}
	s.use(want)
	if o, ready := s.take(want); ready {
		return o, true
	}
	return s.borrow(want)
}

// age has what was used long ago count less, and forgets pools that have
// nothing and are not used.
func (s *stock) age(node string) {
	for k, h := range s.shelves {
		if k.Node != node {
			continue
		}
		if h.used /= 2; h.used == 0 && h.size() == 0 && !h.always {
			delete(s.shelves, k)
		}
	}
}

// kept are the pools that are filled, of all that pods have asked for: those that
// always are, and besides them of each place those that are used most.
func (s *stock) kept() map[PoolKey]bool {
	asked := slices.DeleteFunc(s.keys(), func(k PoolKey) bool { return s.shelves[k].pattern == nil })
	slices.SortStableFunc(asked, func(a, b PoolKey) int { return cmp.Compare(s.shelves[b].used, s.shelves[a].used) })
	kept, of := map[PoolKey]bool{}, map[PoolKey]int{}
	for _, k := range asked {
		if s.shelves[k].always {
			kept[k] = true
			continue
		}
		of[k.place()]++
		kept[k] = of[k.place()] <= s.limits.Sets
	}
	return kept
}

// borrow hands out a port whose groups are other than those that are wanted: who
// takes it must change them first. Those go first that are not kept, then those
// of which there are most.
func (s *stock) borrow(want fields) (object, bool) {
	k, fits := keyOf(want, true)
	if s.limits == nil || !fits {
		return object{}, false
	}
	kept := s.kept()
	var from *shelf
	for _, o := range s.keys() {
		h := s.shelves[o]
		switch {
		case o.place() != k.place() || len(h.ready) == 0:
		case !kept[o]:
			return h.first(s.up), true
		case from == nil || len(h.ready) > len(from.ready):
			from = h
		}
	}
	if from == nil {
		return object{}, false
	}
	return from.first(s.up), true
}

// first is the port that has been ready for longest; of those behind others one
// that has been up, if there is one.
func (h *shelf) first(up func(object) bool) object {
	i := max(0, slices.IndexFunc(h.ready, func(o object) bool { return text(o, "parent") == "" || up(o) }))
	o := h.ready[i]
	h.ready = slices.Delete(slices.Clone(h.ready), i, i+1)
	return o
}
