package portpool

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// pools are all pools of one owner. They decide and call nobody. They are not safe
// for concurrent use.
type pools struct {
	limits *Limits // nil: nothing is pooled
	byKey  map[Key]*pool
	// surplus are ports to be deleted.
	surplus []Port
	// inTask are the ports that a task is working on, by id.
	inTask map[string]Port
	// uses counts, by node, how often pods needed a port.
	uses map[string]int
	// creating is how many tasks that create ports are running; foundMeanwhile are the
	// ids of the ports that were found since the first of them began: a running task
	// may have created them.
	creating       int
	foundMeanwhile map[string]bool
	// up tells whether a subport has been up.
	up func(Port) bool
}

// pool has the ports with one key.
type pool struct {
	ready, returning []Port
	// making is how many ports are being created or cleaned.
	making int
	// wanted is true once a pod has asked for such ports.
	wanted bool
	// always is true if the pool is kept filled however little it is used.
	always bool
	// createPaused and cleanPaused last until resume: Neutron has refused to create a
	// port, or a port that came back could not be cleaned or is still plugged.
	createPaused, cleanPaused bool
	// attempts counts how often a port has been cleaned in vain, by id.
	attempts map[string]int
	// used is how often pods have needed such a port; older uses count less.
	used int
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
		limits: l, byKey: map[Key]*pool{}, inTask: map[string]Port{}, uses: map[string]int{}, foundMeanwhile: map[string]bool{}, up: up,
	}
}

// pool returns the pool with a key, which is made if need be.
func (s *pools) pool(k Key) *pool {
	if s.byKey[k] == nil {
		s.byKey[k] = &pool{attempts: map[string]int{}}
	}
	return s.byKey[k]
}

func (p *pool) size() int { return len(p.ready) + len(p.returning) + p.making }

// all yields all known ports.
func (s *pools) all() iter.Seq[Port] {
	return func(yield func(Port) bool) {
		for _, ports := range s.lists() {
			for _, o := range ports {
				if !yield(o) {
					return
				}
			}
		}
	}
}

func (s *pools) lists() [][]Port {
	lists := [][]Port{s.surplus, slices.Collect(maps.Values(s.inTask))}
	for _, p := range s.byKey {
		lists = append(lists, p.ready, p.returning)
	}
	return lists
}

func (s *pools) has(id string) bool {
	for o := range s.all() {
		if o.ID == id {
			return true
		}
	}
	return false
}

// groupInUse tells whether any known port is in a security group.
func (s *pools) groupInUse(id string) bool {
	for o := range s.all() {
		if o.inGroup(id) {
			return true
		}
	}
	return false
}

// ask notes that a pod asks for such a port: the pool is kept filled from now on if
// it is among the most used ones. With always it is kept filled in any case, also
// for a pod that asks for an address of its own.
func (s *pools) ask(r Request, always bool) {
	if s.limits == nil || !r.Fits || !always && !r.poolable() {
		return
	}
	p := s.pool(r.Key)
	p.wanted, p.always = true, always
}

// take returns the port that has been ready for longest; false if there is none.
func (s *pools) take(r Request) (Port, bool) {
	p := s.byKey[r.Key]
	if !r.poolable() || p == nil || len(p.ready) == 0 {
		return Port{}, false
	}
	return p.takeFirst(s.up), true
}

// takeFirst takes out the port that has been ready for longest; of subports, the
// first one that has been up, if there is one.
func (p *pool) takeFirst(up func(Port) bool) Port {
	i := max(0, slices.IndexFunc(p.ready, func(o Port) bool { return !o.subport() || up(o) }))
	o := p.ready[i]
	p.ready = slices.Delete(slices.Clone(p.ready), i, i+1)
	return o
}

// giveBack takes a port that its pod no longer needs; false if no pool has use
// for it: then the caller deletes it.
func (s *pools) giveBack(o Port) bool {
	if s.has(o.ID) {
		return true // a port that is in a pool twice would be handed out twice
	}
	p := s.byKey[o.Key]
	if s.limits == nil || !o.Fits || p == nil || s.limits.Max > 0 && p.size() >= s.limits.Max || !s.filled()[o.Key] {
		return false
	}
	p.returning = append(p.returning, o)
	return true
}

// add takes in ports that were found in Neutron. Those with a pod's name must be
// cleaned before they are handed out.
func (s *pools) add(found ...Port) {
	for _, o := range found {
		if s.limits == nil || s.has(o.ID) || s.creating > 0 && o.unattached() {
			continue
		}
		if s.creating > 0 {
			s.foundMeanwhile[o.ID] = true
		}
		switch {
		case !o.Fits:
			s.surplus = append(s.surplus, o)
		case o.Clean:
			p := s.pool(o.Key)
			p.ready = append(p.ready, o)
		default:
			p := s.pool(o.Key)
			p.returning = append(p.returning, o)
		}
	}
}

// keep drops the ports that Neutron no longer has.
func (s *pools) keep(exists func(Port) bool) {
	gone := func(o Port) bool { return !exists(o) }
	for _, p := range s.byKey {
		p.ready = slices.DeleteFunc(p.ready, gone)
		p.returning = slices.DeleteFunc(p.returning, gone)
	}
	s.surplus = slices.DeleteFunc(s.surplus, gone)
}

// drain ends the selected pools: their ports become surplus. It returns how many
// ports those are.
func (s *pools) drain(selected func(Key) bool) int {
	drained := 0
	for _, k := range s.keys() {
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

func (s *pools) keys() []Key { return slices.SortedFunc(maps.Keys(s.byKey), compareKeys) }

func (s *pools) status() []Status {
	var out []Status
	for _, k := range s.keys() {
		p := s.byKey[k]
		out = append(out, Status{k, len(p.ready), len(p.returning), p.making})
	}
	return out
}

// ports are the ports of a pool in the order in which they are handed out.
func (s *pools) ports(k Key) []PortStatus {
	p := s.byKey[k]
	if p == nil {
		return nil
	}
	var out []PortStatus
	for _, o := range p.ready {
		out = append(out, PortStatus{o.ID, o.Addrs, StateReady})
	}
	for _, o := range p.returning {
		out = append(out, PortStatus{o.ID, o.Addrs, StateReturning})
	}
	return out
}

// resume lets paused pools try again.
func (s *pools) resume() {
	for _, p := range s.byKey {
		p.createPaused, p.cleanPaused = false, false
	}
}

func (s *pools) anyPaused() bool {
	for _, p := range s.byKey {
		if p.createPaused || p.cleanPaused {
			return true
		}
	}
	return false
}
