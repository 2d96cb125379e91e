package neutron

import (
	"errors"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// begin notes that ports are being made; done ends it.
func (s *stock) begin(c chore) {
	s.shelf(c.key).making += c.n
	if c.key.Parent != "" {
		s.nodes[c.key.Parent] = c.key.Node
	}
	s.births++
}

// unseen ends a creation, and leaves those ports out that a look has found
// before the answer came: wherever they are by now, a pod may have them.
func (s *stock) unseen(made []object) []object {
	left := slices.DeleteFunc(slices.Clone(made), func(o object) bool { return s.early[o.id] || s.knows(o.id) })
	if s.births--; s.births == 0 {
		clear(s.early)
	}
	return left
}

// born puts new ports where they belong.
func (s *stock) born(c chore, made []object, err error) {
	h := s.shelves[c.key]
	if h == nil {
		s.surplus = append(s.surplus, made...)
		return
	}
	h.making, h.paused = max(0, h.making-c.n), err != nil
	if hopeless(err) {
		h.pattern = nil // until somebody asks again
	}
	for _, o := range made {
		if text(o, "parent") == c.key.Parent {
			h.ready = append(h.ready, o)
		} else { // it could not be put where it belongs
			s.surplus = append(s.surplus, o)
		}
	}
}

// hopeless tells whether ports of that kind cannot be made, ever or for want
// of what they refer to.
func hopeless(err error) bool {
	var stop intent.Stop
	var wait intent.Wait
	return errors.As(err, &stop) || errors.As(err, &wait) && wait.Reason == "NotFound"
}
