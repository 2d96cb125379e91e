package ovn

import (
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// unitIndex knows the last want of each unit and the result of its Apply. The watcher
// uses it to find the units that a changed row matters to.
type unitIndex struct {
	mu    sync.Mutex
	units map[intent.Unit]*applied
	// users are the units whose want names a row.
	users map[rows.RowName]map[intent.Unit]bool
	// inherited are the units that had rows when the first session opened and
	// have not applied since. The sweep at the controller's start deals with them.
	inherited map[intent.Unit]bool
	opened    bool
}

// applied is the last Apply of a unit.
type applied struct {
	want    intent.Want
	err     error
	running int // Applies that have not ended
}

func newUnitIndex() *unitIndex {
	return &unitIndex{
		units: map[intent.Unit]*applied{}, users: map[rows.RowName]map[intent.Unit]bool{}, inherited: map[intent.Unit]bool{},
	}
}

// begin records a new want of a unit whose Apply starts.
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

// end records the result of an Apply. It forgets a unit that wants nothing and has
// no rows left.
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

// last returns the unit's last want and the error of its Apply. known is false if the
// unit has not applied or is forgotten.
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

// matters returns whether the watcher must look at a unit whose rows changed. sure
// is true if it must notify without a comparison: a unit that has not applied wants
// no rows, so any row of it is wrong.
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

// reopen records which units have rows when a session opens. It returns the units
// that have applied, to compare with their rows, and the units that have rows
// although they have not applied.
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
