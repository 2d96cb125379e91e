package octavia

import (
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// verb is the operation of a step.
type verb string

const (
	createLoadBalancer verb = "create load balancer" // with all its parts, in one call
	deleteLoadBalancer verb = "delete load balancer"
	tagLoadBalancer    verb = "tag load balancer"
	createPool         verb = "create pool"
	updatePool         verb = "update pool"
	deletePool         verb = "delete pool"
	setMembers         verb = "set members of pool"
	createMember       verb = "add member to pool"
	updateMember       verb = "update member of pool"
	deleteMember       verb = "delete member of pool"
	createListener     verb = "create listener"
	updateListener     verb = "update listener"
	deleteListener     verb = "delete listener"
)

// step is one call. Octavia refuses the next one until it has finished this one.
type step struct {
	verb verb
	// id is the id of the resource to update or delete. It is empty for the members of a
	// pool that an earlier step creates; that pool is found by its name.
	id, name string
	balancer loadBalancer
	listener listener
	member   member
}

func (s step) String() string {
	switch s.verb {
	case setMembers:
		return fmt.Sprintf("%s %s: %d", s.verb, s.name, len(s.listener.Pool.Members))
	case createMember, updateMember, deleteMember:
		return fmt.Sprintf("%s %s: %s", s.verb, s.name, s.member.Name)
	default:
		return fmt.Sprintf("%s %s", s.verb, s.name)
	}
}

// plan returns the steps that turn have into want. want is nil if no load balancer is
// wanted. plan keeps at most one of have, the first that can be changed into want, and
// deletes the others.
//
// A pool gets its members before its listener is created, so that no client is refused in
// between.
func plan(have []loadBalancer, want *loadBalancer) []step {
	var steps []step
	kept := -1
	if want != nil {
		kept = slices.IndexFunc(have, func(h loadBalancer) bool { return reusable(h, *want) })
	}
	for i, h := range have {
		if i != kept {
			steps = append(steps, step{verb: deleteLoadBalancer, id: h.ID, name: h.Name})
		}
	}
	switch {
	case want == nil:
		return steps
	case kept < 0 && len(steps) > 0:
		return steps // the address is free only after the deletion
	case kept < 0:
		return []step{{verb: createLoadBalancer, name: want.Name, balancer: *want}}
	}
	return append(steps, planUpdate(have[kept], *want)...)
}

// reusable reports whether h can be changed into w. Octavia cannot change an address or a
// provider, or anything of a load balancer with status ERROR. It cannot change the
// project either, but then h stays in its project, because creating it again would
// interrupt the Service.
func reusable(h, w loadBalancer) bool {
	return h.VIP == w.VIP && h.Subnet == w.Subnet && h.Status != failed && w.Provider == h.Provider
}

// planUpdate returns the steps that change h into w.
func planUpdate(h, w loadBalancer) []step {
	var steps []step
	if tags := openstack.ReplaceTags(h.Tags, w.Tags); h.Name != w.Name || !slices.Equal(slices.Sorted(slices.Values(h.Tags)), tags) {
		w.ID, w.Tags = h.ID, tags
		steps = append(steps, step{verb: tagLoadBalancer, id: h.ID, name: w.Name, balancer: w})
	}
	var kept []listener
	for _, l := range h.Listeners {
		i := slices.IndexFunc(w.Listeners, func(o listener) bool { return updatable(l, o) })
		if i < 0 {
			steps = append(steps, deleteListenerSteps(l)...)
		} else {
			kept = append(kept, l)
		}
	}
	for _, p := range h.UnusedPools {
		steps = append(steps, step{verb: deletePool, id: p.ID, name: p.Name})
	}
	for _, l := range w.Listeners {
		i := slices.IndexFunc(kept, func(o listener) bool { return o.Name == l.Name })
		if i < 0 {
			steps = append(steps, createListenerSteps(h, l)...)
		} else {
			steps = append(steps, updateListenerSteps(kept[i], l, capabilitiesOf(w.Provider))...)
		}
	}
	return steps
}

// updatable reports whether listener h can be changed into w.
func updatable(h, w listener) bool {
	return h.Name == w.Name && h.Protocol == w.Protocol && h.Port == w.Port && h.Status != failed &&
		h.Pool.ID != "" && h.Pool.Status != failed && h.Pool.Protocol == w.Pool.Protocol
}

func deleteListenerSteps(l listener) []step {
	steps := []step{{verb: deleteListener, id: l.ID, name: l.Name}}
	if l.Pool.ID != "" {
		steps = append(steps, step{verb: deletePool, id: l.Pool.ID, name: l.Pool.Name})
	}
	return steps
}

func createListenerSteps(b loadBalancer, l listener) []step {
	steps := []step{{verb: createPool, name: l.Name, balancer: b, listener: l}}
	if len(l.Pool.Members) > 0 {
		steps = append(steps, step{verb: setMembers, name: l.Name, listener: l})
	}
	return append(steps, step{verb: createListener, name: l.Name, balancer: b, listener: l})
}

// updateListenerSteps returns the steps that change listener h into w.
func updateListenerSteps(h, w listener, a capabilities) []step {
	w.ID, w.Pool.ID = h.ID, h.Pool.ID
	var steps []step
	if h.Pool.Affinity != w.Pool.Affinity || h.Pool.Algorithm != w.Pool.Algorithm {
		steps = append(steps, step{verb: updatePool, id: w.Pool.ID, name: w.Name, listener: w})
	}
	steps = append(steps, memberSteps(h, w, a)...)
	if !timeoutOK(h.ClientTimeout, w.ClientTimeout) || !timeoutOK(h.MemberTimeout, w.MemberTimeout) || !slices.Equal(h.Sources, w.Sources) {
		steps = append(steps, step{verb: updateListener, id: w.ID, name: w.Name, listener: w})
	}
	return steps
}

// memberSteps returns the steps that give h the members of w: a call for each changed
// member where that is faster with the provider, else one call for all.
func memberSteps(h, w listener, a capabilities) []step {
	one := func(v verb, m member) step {
		return step{verb: v, id: m.ID, name: w.Name, listener: w, member: m}
	}
	var added, deleted []step
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
			added = append(added, one(createMember, m))
		case was.Name != m.Name || was.Status == failed:
			added = append(added, one(updateMember, m))
		}
	}
	for _, m := range h.Pool.Members {
		if _, unwanted := left[m.key()]; unwanted {
			deleted = append(deleted, one(deleteMember, m))
		}
	}
	steps := append(added, deleted...)
	if unchanged := len(w.Pool.Members) - len(added); len(steps) == 0 || a.singleMembers && len(steps) <= unchanged {
		return steps
	}
	return []step{{verb: setMembers, id: w.Pool.ID, name: w.Name, listener: w}}
}

// timeoutOK reports whether a timeout need not be changed. 0 means any timeout.
func timeoutOK(have, want time.Duration) bool { return want == 0 || have == want }
