package portpool

import (
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// usesUntilHalved is the number of uses of a node's pools after which all counts of
// earlier uses are halved.
const usesUntilHalved = 64

// obtain returns a port for a pod, and false if there is none. The port may have other
// security groups than the pod asks for or, if the pod asks for an address, come from a
// different pool. The caller changes the port before the pod gets it.
func (s *pools) obtain(r Request) (Port, bool) {
	if o, found := s.withAddress(r); found {
		return o, true
	}
	s.countUse(r)
	if o, found := s.take(r); found {
		return o, true
	}
	return s.borrow(r)
}

// countUse counts a use of a pool, also if the pod's port has to be created.
func (s *pools) countUse(r Request) {
	if s.limits == nil || !r.poolable() {
		return
	}
	s.byKey.pool(r.Key).used++
	s.uses[r.Key.Node]++
	if s.uses[r.Key.Node]%usesUntilHalved == 0 {
		s.halveUses(r.Key.Node)
	}
}

// halveUses halves the counts of a node's pools, so that old uses count less. It removes
// pools that have no port and are not used.
func (s *pools) halveUses(node string) {
	for k, p := range s.byKey {
		if k.Node != node {
			continue
		}
		if p.used /= 2; p.used == 0 && p.size() == 0 && !p.always {
			delete(s.byKey, k)
		}
	}
}

// borrow takes a port of another pool in the same place: from a pool that is not kept
// filled if there is one, else from the pool with the most ready ports.
func (s *pools) borrow(r Request) (Port, bool) {
	if s.limits == nil || !r.poolable() {
		return Port{}, false
	}
	filled := s.byKey.filled(s.limits.Sets)
	var from *pool
	for _, k := range s.byKey.keys() {
		p := s.byKey[k]
		switch {
		case k.place() != r.Key.place() || len(p.ready) == 0:
		case !filled[k]:
			return p.takeFirst(s.up), true
		case from == nil || len(p.ready) > len(from.ready):
			from = p
		}
	}
	if from == nil {
		return Port{}, false
	}
	return from.takeFirst(s.up), true
}

// withAddress takes the ready port with an address or the MAC that a pod asks for,
// because Neutron refuses to create another port with them. A port that cannot be changed
// into the requested one becomes surplus, and is deleted before others.
func (s *pools) withAddress(r Request) (Port, bool) {
	for _, k := range s.byKey.keys() {
		p := s.byKey[k]
		for _, o := range slices.Clone(p.ready) {
			if !o.conflicts(r.Address) {
				continue
			}
			p.ready = slices.DeleteFunc(slices.Clone(p.ready), func(other Port) bool { return other.ID == o.ID })
			if o.Key.Project == r.Key.Project && r.Accepts(o) {
				return o, true
			}
			s.surplus = append([]Port{o}, s.surplus...)
		}
	}
	return Port{}, false
}

// addressFree returns an intent.Wait while a port that is being cleaned or deleted has an
// address or the MAC that r asks for, else nil.
func (s *pools) addressFree(r Request) error {
	all := s.surplus
	for _, p := range s.byKey {
		all = slices.Concat(all, p.returning)
	}
	for _, o := range s.inTask {
		all = slices.Concat(all, []Port{o})
	}
	i := slices.IndexFunc(all, func(o Port) bool { return o.conflicts(r.Address) })
	if i < 0 {
		return nil
	}
	return intent.Wait{Reason: "AddressTaken", After: time.Second, For: fmt.Sprintf(
		"port %s of the pool, which has the address or MAC that is asked for, to be given back", all[i].ID)}
}
