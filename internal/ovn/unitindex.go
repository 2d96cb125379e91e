package ovn

import (
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// unitIndex knows what each unit wanted last and how that ended. So a changed
// row leads to the units that it matters to, and to no others.
type unitIndex struct {
	mu    sync.Mutex
	units map[intent.Unit]*applied
	// users are the units whose want names a row.
	users map[rows.RowName]map[intent.Unit]bool
	// inherited are the units that had rows when the first session opened and
	// have not applied since: whoever sweeps looks after them.
	inherited map[intent.Unit]bool
	opened    bool
}

// applied is the last Apply of a unit.
type applied struct {
	want    intent.Want
	err     error
	running int // how many Applies have not ended
}

func newUnitIndex() *unitIndex {
	return &unitIndex{
		units: map[intent.Unit]*applied{}, users: map[rows.RowName]map[intent.Unit]bool{}, inherited: map[intent.Unit]bool{},
	}
}

// begin records what a unit wants from now on.
func (x *unitIndex) begin(u intent.Unit, w intent.Want) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.inherited, u)
	a := x.units[u]
	if a == nil {
		a = &applied{}
		x.units[u] = a
	}
	x.removeUser(u, a.want)
	a.want = w
	a.running++
	for _, r := range rows.NameRefs(w) {
		if x.users[r.RowName] == nil {
			x.users[r.RowName] = map[intent.Unit]bool{}
		}
		x.users[r.RowName][u] = true
	}
}

func (x *unitIndex) removeUser(u intent.Unit, w intent.Want) {
	for _, r := range rows.NameRefs(w) {
		delete(x.users[r.RowName], u)
		if len(x.users[r.RowName]) == 0 {
			delete(x.users, r.RowName)
		}
	}
}

// end records how an Apply ended. It forgets a unit that wants nothing and has
// nothing left.
func (x *unitIndex) end(u intent.Unit, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a := x.units[u]
	a.running--
	a.err = err
	if err == nil && a.running == 0 && len(rows.NameRefs(a.want)) == 0 {
		delete(x.units, u)
	}
}

// last returns what a unit wanted last and how that Apply ended; known is false
// if the unit has not applied or is forgotten.
func (x *unitIndex) last(u intent.Unit) (w intent.Want, err error, known bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a := x.units[u]
	if a == nil {
		return intent.Want{}, nil, false
	}
	return a.want, a.err, true
}

// running returns whether an Apply of the unit has not ended.
func (x *unitIndex) running(u intent.Unit) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	a := x.units[u]
	return a != nil && a.running > 0
}

// matters returns whether a change of the unit's rows matters to anybody, and
// whether that is known for sure: nobody has applied a unit that is not known,
// so any row of it is too many.
func (x *unitIndex) matters(u intent.Unit) (matters, sure bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, known := x.units[u]
	return known || x.opened && !x.inherited[u], !known
}

// usersOf returns the units whose want names a row.
func (x *unitIndex) usersOf(r rows.RowName) []intent.Unit {
	x.mu.Lock()
	defer x.mu.Unlock()
	units := make([]intent.Unit, 0, len(x.users[r]))
	for u := range x.users[r] {
		units = append(units, u)
	}
	return units
}

// reopen takes the units that have rows when a session opens. It returns the
// units to compare with their rows: all known ones; and those that have rows but
// that nobody has applied.
func (x *unitIndex) reopen(found map[intent.Unit]bool) (known, unknown []intent.Unit) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for u := range found {
		switch {
		case x.units[u] != nil || x.inherited[u]:
		case !x.opened:
			x.inherited[u] = true
		default:
			unknown = append(unknown, u)
		}
	}
	for u := range x.units {
		known = append(known, u)
	}
	x.opened = true
	return known, unknown
}
