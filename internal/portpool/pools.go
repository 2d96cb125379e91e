package portpool

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// pools has all pools of one owner. It makes decisions but no calls. It is not safe for
// concurrent use.
type pools struct {
	limits *Limits // nil: nothing is pooled
	byKey  index
	// surplus has the ports to be deleted.
	surplus []Port
	// inTask has the ports that a task works on, by id.
	inTask map[string]Port
	// uses counts, by node, how often pods needed a port.
	uses      map[string]int
	creations creations
	// up reports whether a subport has been up.
	up func(Port) bool
}

// newPools returns pools without ports. up may be nil.
func newPools(l *Limits, up func(Port) bool) *pools {
	if l != nil {
		l = &Limits{Min: l.Min, Max: l.Max, Batch: cmp.Or(l.Batch, defaultBatch), Sets: cmp.Or(l.Sets, defaultSets)}
	}
	if up == nil {
		up = func(Port) bool { return false }
	}
	return &pools{
		limits: l, byKey: index{}, inTask: map[string]Port{}, uses: map[string]int{}, up: up,
	}
}

// all yields all known ports.
func (s *pools) all() iter.Seq[Port] {
	lists := [][]Port{s.surplus, slices.Collect(maps.Values(s.inTask))}
	for _, p := range s.byKey {
		lists = append(lists, p.ready, p.returning)
	}
	return func(yield func(Port) bool) {
		for _, ports := range lists {
			for _, o := range ports {
				if !yield(o) {
					return
				}
			}
		}
	}
}

func (s *pools) has(id string) bool {
	for o := range s.all() {
		if o.ID == id {
			return true
		}
	}
	return false
}

// groupInUse reports whether any known port is in a security group.
func (s *pools) groupInUse(id string) bool {
	for o := range s.all() {
		if o.inGroup(id) {
			return true
		}
	}
	return false
}

// ask notes that a pod asks for a port of a pool. The pool is kept filled from now on if
// it is among the most used ones. With always it is kept filled in any case, even for a
// pod that asks for an address.
func (s *pools) ask(r Request, always bool) {
	if s.limits == nil || !r.Fits || !always && !r.poolable() {
		return
	}
	p := s.byKey.pool(r.Key)
	p.wanted, p.always = true, always
}

// take returns the port that has been ready for the longest time, and false if there is
// none.
func (s *pools) take(r Request) (Port, bool) {
	p := s.byKey[r.Key]
	if !r.poolable() || p == nil || len(p.ready) == 0 {
		return Port{}, false
	}
	return p.takeFirst(s.up), true
}

// returnPort takes a port that its pod no longer needs. It returns false if no pool needs
// the port; then the caller deletes it.
func (s *pools) returnPort(o Port) bool {
	if s.has(o.ID) {
		return true // a port that is in a pool twice would be handed out twice
	}
	p := s.byKey[o.Key]
	if s.limits == nil || !o.Fits || p == nil || s.limits.Max > 0 && p.size() >= s.limits.Max || !s.byKey.filled(s.limits.Sets)[o.Key] {
		return false
	}
	p.returning = append(p.returning, o)
	return true
}

// add adds ports that were found in Neutron. Those with a pod's name are cleaned before
// they are handed out.
func (s *pools) add(found ...Port) {
	for _, o := range found {
		if s.limits == nil || s.has(o.ID) || s.creations.ignore(o) {
			continue
		}
		switch {
		case !o.Fits:
			s.surplus = append(s.surplus, o)
		case o.Clean:
			p := s.byKey.pool(o.Key)
			p.ready = append(p.ready, o)
		default:
			p := s.byKey.pool(o.Key)
			p.returning = append(p.returning, o)
		}
	}
}

// keep drops the ports that no longer exist in Neutron.
func (s *pools) keep(exists func(Port) bool) {
	s.byKey.keep(exists)
	s.surplus = slices.DeleteFunc(s.surplus, func(o Port) bool { return !exists(o) })
}

// drain removes the selected pools. Their ports become surplus. It returns the number of
// these ports.
func (s *pools) drain(selected func(Key) bool) int {
	drained := 0
	for _, k := range s.byKey.keys() {
		if p := s.byKey[k]; selected(k) {
			s.surplus = slices.Concat(s.surplus, p.ready, p.returning)
			drained += len(p.ready) + len(p.returning)
			delete(s.byKey, k)
		}
	}
	return drained
}

// discard makes a ready port surplus.
func (s *pools) discard(id string) {
	for _, p := range s.byKey {
		if i := slices.IndexFunc(p.ready, func(o Port) bool { return o.ID == id }); i >= 0 {
			s.surplus = append(s.surplus, p.ready[i])
			p.ready = slices.Delete(slices.Clone(p.ready), i, i+1)
			return
		}
	}
}
