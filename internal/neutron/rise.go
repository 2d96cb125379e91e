package neutron

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// pace is how often it is looked whether ports behind others have come up.
type pace struct {
	// first is the pause after something new has begun to come up, most that
	// after it has not for long.
	first, most time.Duration
	// stuck is how long a port takes at most that is ever to come up by itself.
	stuck time.Duration
}

// usualPace: Neutron shows a port up a fraction of a second after OVN does.
var usualPace = pace{first: 250 * time.Millisecond, most: 10 * time.Second, stuck: 30 * time.Second}

// asked is of how many ports one call asks: its address must not get too long.
const asked = 50

// rises are the ports behind others that have not been up yet. OVN tells when one
// comes up; where that does not know the port, only who asks Neutron sees it, so
// one call asks for many. What was up once is taken to be up: it comes up again
// with the machine that it is behind.
type rises struct {
	waiting map[string]riser // by id
	up      map[string]bool
	rung    signal.Signal
	// says is what OVN says of a port, if it knows.
	says func(port string) (up, known bool)
}

type riser struct {
	unit   intent.Unit // empty for the pool's
	parent string
	since  time.Time
}

func newRises(says func(string) (bool, bool)) rises {
	if says == nil {
		says = func(string) (bool, bool) { return false, false }
	}
	return rises{map[string]riser{}, map[string]bool{}, signal.New(), says}
}

// PortNotUp is the reason of units whose port is on its way.
const PortNotUp = "PortNotUp"

// awaited makes a unit wait whose ports must have been up and have not.
func (f *Fabric) awaited(u intent.Unit, w intent.Want, seen intent.Observed) error {
	for _, p := range w.Ports {
		if b, there := seen.Ports[p.Name]; there && p.MustBeUp && p.Parent != "" && !seen.Up[p.Name] {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.rises.await(b.ID, u, p.Parent)
			return intent.Wait{Reason: PortNotUp, For: "port " + p.Name + " to come up"}
		}
	}
	return nil
}

func (r rises) await(id string, u intent.Unit, parent string) {
	was, known := r.waiting[id]
	if known && was.unit == u || r.up[id] {
		return
	}
	if !known {
		was.since = time.Now()
	}
	was.unit, was.parent = u, parent
	r.waiting[id] = was
	r.rung.Set()
}

// awaitPooled has a pool's new subport watched, unless a pod has it by now.
func (r rises) awaitPooled(id, parent string) {
	if _, known := r.waiting[id]; !known {
		r.await(id, "", parent)
	}
}

func (r rises) forget(id string) {
	delete(r.waiting, id)
	delete(r.up, id)
}

func (f *Fabric) isUp(o object) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rises.isUp(o)
}

// isUp goes by what OVN says, for Neutron calls a port up as soon as it is behind
// one that is.
func (r rises) isUp(o object) bool {
	if up, known := r.says(o.id); known {
		return up || r.up[o.id]
	}
	return o.fields["status"] == "ACTIVE" || r.up[o.id]
}

// Rose is to be called when OVN says that a port is up.
func (f *Fabric) Rose(port string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, waits := f.rises.waiting[port]; waits {
		f.rises.rung.Set()
	}
}

// watchRises asks for what is to come up, until ctx ends; more seldom the longer
// it takes.
func (f *Fabric) watchRises(ctx context.Context) {
	p := f.pace
	if p == (pace{}) {
		p = usualPace
	}
	again := time.NewTimer(p.most)
	defer again.Stop()
	pause := p.first
	for {
		select {
		case <-f.rises.rung.C():
			pause = p.first
		case <-again.C:
			pause = min(2*pause, p.most)
		case <-ctx.Done():
			return
		}
		again.Stop()
		if f.lookRises(ctx, p) {
			again.Reset(pause)
		}
	}
}

// lookRises asks once for all that is to come up, and tells whether some is left.
func (f *Fabric) lookRises(ctx context.Context, p pace) bool {
	f.mu.Lock()
	ids := slices.Sorted(maps.Keys(f.rises.waiting))
	f.mu.Unlock()
	for some := range slices.Chunk(ids, asked) {
		if err := f.lookSome(ctx, p, some); err != nil && ctx.Err() == nil {
			f.Log.Warn("whether ports have come up is not known", "ports", len(some), "err", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rises.waiting) > 0
}

func (f *Fabric) lookSome(ctx context.Context, p pace, ids []string) error {
	a, err := f.api(ctx)
	if err != nil {
		return err
	}
	active, err := f.lookUp(ctx, a, ids)
	if err != nil {
		return err
	}
	f.mu.Lock()
	risen, stuck := f.rises.see(ids, active, time.Now().Add(-p.stuck))
	f.mu.Unlock()
	f.wake(risen)
	for id, r := range stuck {
		f.raise(ctx, a, id, r)
	}
	return nil
}

// lookUp tells of ports, and of those that they are behind, whether they are up;
// nothing of those that are gone.
func (f *Fabric) lookUp(ctx context.Context, a *api, ids []string) (map[string]bool, error) {
	f.mu.Lock()
	all := slices.Clone(ids)
	for _, id := range ids {
		all = append(all, f.rises.waiting[id].parent)
	}
	f.mu.Unlock()
	active := map[string]bool{}
	all = slices.DeleteFunc(sorted(all), func(id string) bool {
		up, known := f.rises.says(id)
		if known {
			active[id] = up
		}
		return known
	})
	if len(all) == 0 {
		return active, nil
	}
	found, err := a.list(ctx, kindPort, url.Values{"id": all})
	for _, w := range found {
		active[w.ID] = w.Status == "ACTIVE"
	}
	return active, err
}

// see notes which of some ports are up, or gone. It returns whom that matters
// to, and which ports have not come up since long ago though what they are
// behind is up.
func (r rises) see(ids []string, active map[string]bool, long time.Time) (risen []intent.Unit, stuck map[string]riser) {
	stuck = map[string]riser{}
	for _, id := range ids {
		w, waits := r.waiting[id]
		up, there := active[id]
		switch {
		case !waits:
		case up || !there:
			delete(r.waiting, id)
			if r.up[id] = up; !up {
				delete(r.up, id)
			}
			if w.unit != "" {
				risen = append(risen, w.unit)
			}
		case active[w.parent] && w.since.Before(long):
			stuck[id] = w
			w.since = time.Now()
			r.waiting[id] = w
		}
	}
	return risen, stuck
}

// raise puts a port once more behind another that has not come up: an event was
// lost. One of the pool's is made anew.
func (f *Fabric) raise(ctx context.Context, a *api, id string, r riser) {
	f.Log.Warn("a port behind another has never come up, and is put there once more", "port", id, "behind", r.parent, "unit", r.unit)
	if r.unit == "" {
		f.mu.Lock()
		delete(f.rises.waiting, id)
		f.mu.Unlock()
		f.PortPool.Discard(id)
		return
	}
	e := f.enter(r.unit)
	defer f.leave(r.unit, e)
	i := e.index(object{kind: kindPort, id: id})
	if i < 0 || !e.sure || e.objects[i].fields["parent"] != r.parent {
		return
	}
	o := object{kind: kindPort, name: e.objects[i].name, id: id}
	off := o
	off.fields = fields{"parent": r.parent}
	if err := f.run(ctx, a, e, []step{{detach, off}, attaching(o, r.parent, e.objects[i].fields["vlan"])}); err != nil {
		f.Log.Warn("a port behind another was not put there once more", "unit", r.unit, "err", err)
		f.wake([]intent.Unit{r.unit})
	}
}
