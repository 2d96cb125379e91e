package portpool

import (
	"cmp"
	"maps"
	"slices"
)

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

func (p *pool) size() int { return len(p.ready) + len(p.returning) + p.making }

// takeFirst takes out the port that has been ready for longest; of subports, the
// first one that has been up, if there is one.
func (p *pool) takeFirst(up func(Port) bool) Port {
	i := max(0, slices.IndexFunc(p.ready, func(o Port) bool { return !o.subport() || up(o) }))
	o := p.ready[i]
	p.ready = slices.Delete(slices.Clone(p.ready), i, i+1)
	return o
}

// index is all pools by their keys.
type index map[Key]*pool

// pool returns the pool with a key, which is made if need be.
func (x index) pool(k Key) *pool {
	if x[k] == nil {
		x[k] = &pool{attempts: map[string]int{}}
	}
	return x[k]
}

func (x index) keys() []Key { return slices.SortedFunc(maps.Keys(x), compareKeys) }

// filled are the pools that are kept filled, of those that pods have asked for: the
// ones that always are, and in each place the most used ones, sets of them.
func (x index) filled(sets int) map[Key]bool {
	wanted := slices.DeleteFunc(x.keys(), func(k Key) bool { return !x[k].wanted })
	slices.SortStableFunc(wanted, func(a, b Key) int { return cmp.Compare(x[b].used, x[a].used) })
	filled, inPlace := map[Key]bool{}, map[Key]int{}
	for _, k := range wanted {
		if x[k].always {
			filled[k] = true
			continue
		}
		inPlace[k.place()]++
		filled[k] = inPlace[k.place()] <= sets
	}
	return filled
}

// keep drops the ports that Neutron no longer has.
func (x index) keep(exists func(Port) bool) {
	gone := func(o Port) bool { return !exists(o) }
	for _, p := range x {
		p.ready = slices.DeleteFunc(p.ready, gone)
		p.returning = slices.DeleteFunc(p.returning, gone)
	}
}

func (x index) status() []Status {
	var out []Status
	for _, k := range x.keys() {
		p := x[k]
		out = append(out, Status{k, len(p.ready), len(p.returning), p.making})
	}
	return out
}

// ports are the ports of a pool in the order in which they are handed out.
func (x index) ports(k Key) []PortStatus {
	p := x[k]
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
func (x index) resume() {
	for _, p := range x {
		p.createPaused, p.cleanPaused = false, false
	}
}

func (x index) anyPaused() bool {
	for _, p := range x {
		if p.createPaused || p.cleanPaused {
			return true
		}
	}
	return false
}
