package octavia

import (
	"fmt"
	"slices"
)

// verb is what a step does.
type verb string

const (
	makeBalancer   verb = "make load balancer" // with all that belongs to it, in one call
	removeBalancer verb = "delete load balancer"
	tagBalancer    verb = "tag load balancer"
	makePool       verb = "make pool"
	setMembers     verb = "set members of pool"
	addMember      verb = "add member to pool"
	changeMember   verb = "change member of pool"
	removeMember   verb = "delete member of pool"
	removePool     verb = "delete pool"
	changePool     verb = "change pool"
	makeListener   verb = "make listener"
	changeListener verb = "change listener"
	removeListener verb = "delete listener"
)

// step is one call. Octavia takes none while the one before it is being done.
type step struct {
	verb verb
	// id is of what is changed or deleted; empty for the members of a pool
	// that an earlier step makes, which is found by name.
	id, name string
	balancer balancer
	listener listener
	member   member
}

func (s step) String() string {
	switch s.verb {
	case setMembers:
		return fmt.Sprintf("%s %s: %d", s.verb, s.name, len(s.listener.Pool.Members))
	case addMember, changeMember, removeMember:
		return fmt.Sprintf("%s %s: %s", s.verb, s.name, s.member.Name)
	default:
		return fmt.Sprintf("%s %s", s.verb, s.name)
	}
}

// plan are the steps from what there is to what should be. Of have, at most one
// is kept: the first that can become want. Want is nil if nothing should be.
//
// A pool is filled before its listener is made, so that nobody is refused
// meanwhile.
func plan(have []balancer, want *balancer) []step {
	var steps []step
	kept := -1
	if want != nil {
		kept = slices.IndexFunc(have, func(h balancer) bool { return canBecome(h, *want) })
	}
	for i, h := range have {
		if i != kept {
			steps = append(steps, step{verb: removeBalancer, id: h.ID, name: h.Name})
		}
	}
	switch {
	case want == nil:
		return steps
	case kept < 0 && len(steps) > 0:
		return steps // its address is free only when it is gone
	case kept < 0:
		return []step{{verb: makeBalancer, name: want.Name, balancer: *want}}
	}
	return append(steps, bring(have[kept], *want)...)
}

// canBecome tells whether h need not be made anew: an address and a provider
// cannot be changed, and what is in error cannot be changed at all. A project
// cannot be changed either, but to cut off a Service for that would be too much.
func canBecome(h, w balancer) bool {
	return h.VIP == w.VIP && h.Subnet == w.Subnet && h.Status != failed && w.Provider == h.Provider
}

func bring(h, w balancer) []step {
	var steps []step
	if h.Name != w.Name || !slices.Equal(ours(h.Tags), ours(w.Tags)) {
		w.ID, w.Tags = h.ID, retag(h.Tags, w.Tags)
		steps = append(steps, step{verb: tagBalancer, id: h.ID, name: w.Name, balancer: w})
	}
	var left []listener
	for _, l := range h.Listeners {
		i := slices.IndexFunc(w.Listeners, func(o listener) bool { return fits(l, o) })
		if i < 0 {
			steps = append(steps, dropListener(l)...)
		} else {
			left = append(left, l)
		}
	}
	for _, p := range h.Strays {
		steps = append(steps, step{verb: removePool, id: p.ID, name: p.Name})
	}
	for _, l := range w.Listeners {
		i := slices.IndexFunc(left, func(o listener) bool { return o.Name == l.Name })
		if i < 0 {
			steps = append(steps, addListener(h, l)...)
		} else {
			steps = append(steps, changeTo(left[i], l, abilitiesOf(w.Provider))...)
		}
	}
	return steps
}

// fits tells whether listener h can become w.
func fits(h, w listener) bool {
	return h.Name == w.Name && h.Protocol == w.Protocol && h.Port == w.Port && h.Status != failed &&
		h.Pool.ID != "" && h.Pool.Status != failed && h.Pool.Protocol == w.Pool.Protocol
}

func dropListener(l listener) []step {
	steps := []step{{verb: removeListener, id: l.ID, name: l.Name}}
	if l.Pool.ID != "" {
		steps = append(steps, step{verb: removePool, id: l.Pool.ID, name: l.Pool.Name})
	}
	return steps
}

func addListener(b balancer, l listener) []step {
	steps := []step{{verb: makePool, name: l.Name, balancer: b, listener: l}}
	if len(l.Pool.Members) > 0 {
		steps = append(steps, step{verb: setMembers, name: l.Name, listener: l})
	}
	return append(steps, step{verb: makeListener, name: l.Name, balancer: b, listener: l})
}

func changeTo(h, w listener, a abilities) []step {
	w.ID, w.Pool.ID = h.ID, h.Pool.ID
	var steps []step
	if h.Pool.Affinity != w.Pool.Affinity || h.Pool.Algorithm != w.Pool.Algorithm {
		steps = append(steps, step{verb: changePool, id: w.Pool.ID, name: w.Name, listener: w})
	}
	steps = append(steps, changeMembers(h, w, a)...)
	if !sameTimeout(h.ClientTimeout, w.ClientTimeout) || !sameTimeout(h.MemberTimeout, w.MemberTimeout) || !slices.Equal(h.Sources, w.Sources) {
		steps = append(steps, step{verb: changeListener, id: w.ID, name: w.Name, listener: w})
	}
	return steps
}

// changeMembers are single calls where they are quicker than one for all.
func changeMembers(h, w listener, a abilities) []step {
	one := func(v verb, m member) step {
		return step{verb: v, id: m.ID, name: w.Name, listener: w, member: m}
	}
	var more, less []step
	left := map[string]member{}
	for _, m := range h.Pool.Members {
		left[m.key()] = m
	}
	for _, m := range w.Pool.Members {
		was, there := left[m.key()]
		delete(left, m.key())
		m.ID = was.ID
		switch {
		case !there:
			more = append(more, one(addMember, m))
		case was.Name != m.Name || was.Status == failed:
			more = append(more, one(changeMember, m))
		}
	}
	for _, m := range h.Pool.Members {
		if _, unwanted := left[m.key()]; unwanted {
			less = append(less, one(removeMember, m))
		}
	}
	steps := append(more, less...)
	if unchanged := len(w.Pool.Members) - len(more); len(steps) == 0 || a.single && len(steps) <= unchanged {
		return steps
	}
	return []step{{verb: setMembers, id: w.Pool.ID, name: w.Name, listener: w}}
}
