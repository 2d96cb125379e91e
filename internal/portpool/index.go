package portpool

import (
	"cmp"
	"maps"
	"slices"
)

// pool has the ports with one key.
type pool struct {
	ready, returning []Port
	// making is the number of ports that are being created or cleaned.
	making int
	// wanted is true once a pod has asked for such ports.
	wanted bool
	// always is true if the pool is kept filled even if it is hardly used.
	always bool
	// createPaused and cleanPaused last until resume. They are set when Neutron refused
	// to create a port, or when a returned port could not be cleaned or was still
	// plugged.
	createPaused, cleanPaused bool
	// attempts counts the failed attempts to clean a port, by the port's id.
	attempts map[string]int
	// used counts how often pods have needed such a port. Older uses count less.
	used int
}

func (p *pool) size() int { return len(p.ready) + len(p.returning) + p.making }

// takeFirst removes and returns the port that has been ready for the longest time. If one
// of the subports has been up, it returns the first of those.
func (p *pool) takeFirst(up func(Port) bool) Port {
	i := max(0, slices.IndexFunc(p.ready, func(o Port) bool { return !o.subport() || up(o) }))
	o := p.ready[i]
	p.ready = slices.Delete(slices.Clone(p.ready), i, i+1)
	return o
}

// index has all pools by their keys.
type index map[Key]*pool

// pool returns the pool with key k. It creates the pool if there is none.
func (x index) pool(k Key) *pool {
	if x[k] == nil {
		x[k] = &pool{attempts: map[string]int{}}
	}
	return x[k]
}

func (x index) keys() []Key { return slices.SortedFunc(maps.Keys(x), compareKeys) }

// filled returns the pools that are kept filled, of those that pods have asked for: the
// ones that always are, and the sets most used ones in each place.
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

// keep drops the ports that no longer exist in Neutron.
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

// ports returns the ports of a pool in the order in which they are handed out.
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

// resume ends the pause of all pools.
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
