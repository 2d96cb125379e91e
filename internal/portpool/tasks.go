package portpool

import (
	"errors"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// verb is the operation of a task.
type verb string

const (
	createPorts verb = "create"
	cleanPort   verb = "clean"
	deletePorts verb = "delete"
)

// task is something to do for a pool. The zero task means nothing.
type task struct {
	verb verb
	key  Key    // of the pool; zero for deletePorts
	port Port   // to clean
	n    int    // how many to create
	gone []Port // to delete, all with the same parent port if they have one
}

// perTask is the maximum number of ports that a task creates or deletes. Neutron takes a
// third of a second for each, and more urgent tasks wait in the meantime.
const perTask = 10

// cleanAttempts is the number of attempts to clean a port that is still plugged. After
// that it is deleted.
const cleanAttempts = 5

// next returns the most urgent task and counts its ports as being worked on. The caller
// must call done after the task. Cleaning comes first, because it yields a ready port
// sooner than a creation. If create is false, next creates no ports.
func (s *pools) next(create bool) task {
	if s.limits == nil {
		return task{}
	}
	for _, k := range s.byKey.keys() {
		if p := s.byKey[k]; len(p.returning) > 0 && !p.cleanPaused {
			o := p.returning[0]
			p.returning = p.returning[1:]
			p.making++
			s.inTask[o.ID] = o
			return task{verb: cleanPort, key: k, port: o}
		}
	}
	if t := s.deleteSurplus(); t.verb != "" {
		return t
	}
	if create {
		return s.refill()
	}
	return task{}
}

// deleteSurplus returns the task that deletes a surplus port. It deletes subports of one
// parent port together: they are detached from the trunk in one call.
func (s *pools) deleteSurplus() task {
	if len(s.surplus) == 0 {
		return task{}
	}
	first := s.surplus[0]
	t := task{verb: deletePorts}
	s.surplus = slices.DeleteFunc(slices.Clone(s.surplus), func(o Port) bool {
		together := o.ID == first.ID || first.subport() && o.Key.Parent == first.Key.Parent
		if !together || len(t.gone) == perTask {
			return false
		}
		t.gone = append(t.gone, o)
		s.inTask[o.ID] = o
		return true
	})
	return t
}

// refill returns the task that creates ports for the pool with the fewest ports.
func (s *pools) refill() task {
	var t task
	fewest, filled := 0, s.byKey.filled(s.limits.Sets)
	for _, k := range s.byKey.keys() {
		p := s.byKey[k]
		if !filled[k] || p.createPaused || p.size() >= s.limits.Min || t.n > 0 && p.size() >= fewest {
			continue
		}
		fewest = p.size()
		t = task{verb: createPorts, key: k, n: min(s.limits.Batch, s.limits.room(p))}
	}
	return s.beginCreate(t)
}

// room returns how many ports one task may add to a pool.
func (l *Limits) room(p *pool) int {
	if l.Max <= 0 {
		return perTask
	}
	return min(perTask, max(l.Max, l.Min)-p.size())
}

// createMore returns the task that creates up to n ports for a pool, even if no pod asks
// for such ports. It returns the zero task if the pool is full or no pool can have key k.
func (s *pools) createMore(k Key, n int) task {
	if s.limits == nil || !k.Complete() {
		return task{}
	}
	return s.beginCreate(task{verb: createPorts, key: k, n: min(n, s.limits.room(s.byKey.pool(k)))})
}

// beginCreate counts the ports that a task is going to create, and returns the task.
func (s *pools) beginCreate(t task) task {
	if t.n <= 0 {
		return task{}
	}
	s.byKey.pool(t.key).making += t.n
	s.creations.begin()
	return t
}

// done records the end of a task. result has the ports after it: those that were created,
// the one that was cleaned, or those that could not be deleted. If the pool was drained
// in the meantime, its ports are surplus.
func (s *pools) done(t task, result []Port, err error) {
	delete(s.inTask, t.port.ID)
	for _, o := range t.gone {
		delete(s.inTask, o.ID)
	}
	switch t.verb {
	case createPorts:
		found := s.creations.end()
		s.created(t, slices.DeleteFunc(slices.Clone(result), func(o Port) bool { return found(o.ID) || s.has(o.ID) }), err)
	case cleanPort:
		s.cleaned(t, result, err)
	case deletePorts:
		s.surplus = append(s.surplus, result...)
	}
}

// created adds new ports to their pool. A subport that could not be attached to its trunk
// is surplus.
func (s *pools) created(t task, ports []Port, err error) {
	p := s.byKey[t.key]
	if p == nil {
		s.surplus = append(s.surplus, ports...)
		return
	}
	p.making, p.createPaused = max(0, p.making-t.n), err != nil
	if hopeless(err) {
		p.wanted = false // until a pod asks again
	}
	for _, o := range ports {
		if o.Key.Parent == t.key.Parent {
			p.ready = append(p.ready, o)
		} else {
			s.surplus = append(s.surplus, o)
		}
	}
}

// hopeless reports whether no such port can be created until something else changes: the
// port is invalid, or what it refers to does not exist.
func hopeless(err error) bool {
	var stop intent.Stop
	var wait intent.Wait
	return errors.As(err, &stop) || errors.As(err, &wait) && wait.Reason == "NotFound"
}

// cleaned makes a cleaned port ready, unless it is still plugged: the next pod would
// share it with the old one. For subports Neutron does not show this; their node ensures
// it.
func (s *pools) cleaned(t task, result []Port, err error) {
	p := s.byKey[t.key]
	if p == nil {
		s.surplus = append(s.surplus, t.port)
		return
	}
	p.making = max(0, p.making-1)
	if err == nil && len(result) == 1 && (!result[0].Plugged || result[0].subport()) {
		delete(p.attempts, t.port.ID)
		p.ready = append(p.ready, result[0])
		return
	}
	p.cleanPaused = true
	p.attempts[t.port.ID]++
	if p.attempts[t.port.ID] < cleanAttempts {
		p.returning = append(p.returning, t.port)
		return
	}
	delete(p.attempts, t.port.ID)
	s.surplus = append(s.surplus, t.port)
}

// creations are the running tasks that create ports. FindPorts may find their ports
// before the answer comes, and pods may get these ports by then.
type creations struct {
	running int
	// found has the ports that were found since the first of the tasks began, by id.
	found map[string]bool
}

func (c *creations) begin() {
	if c.running++; c.running == 1 {
		c.found = map[string]bool{}
	}
}

// ignore reports whether a found port is left to the task that creates it, because the
// port has to be attached to its trunk first. If it is not, the task ignores the port.
func (c *creations) ignore(o Port) bool {
	if c.running == 0 || o.unattached() {
		return c.running > 0
	}
	c.found[o.ID] = true
	return false
}

// end records the end of a task, and returns a function that reports whether a port was
// found in the meantime.
func (c *creations) end() func(id string) bool {
	found := c.found
	c.running--
	return func(id string) bool { return found[id] }
}
