package trunk

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/retry"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// Pace says how often Neutron is asked for the status of pending ports.
type Pace struct {
	// Looks bounds the pauses between two looks. They are short after a new port, and
	// become longer.
	Looks retry.Backoff
	// Stuck is after what time a port whose parent is up does not come up by itself any
	// more.
	Stuck time.Duration
}

// DefaultPace is for a Neutron that shows a port up a fraction of a second after OVN does.
var DefaultPace = Pace{Looks: retry.Backoff{First: 250 * time.Millisecond, Longest: 10 * time.Second}, Stuck: 30 * time.Second}

// portsPerCall is of how many ports one call asks: its address must not get too long.
const portsPerCall = 50

// PendingPort is a subport that has not been up yet.
type PendingPort struct {
	ID string
	// Unit is empty for a port of the pool.
	Unit   intent.Unit
	Parent string
	since  time.Time
}

// Ports is what Pending asks and tells of ports.
type Ports interface {
	// Active asks Neutron which of the ports are up. It says nothing of ports that do not
	// exist.
	Active(ctx context.Context, ids []string) (map[string]bool, error)
	// CameUp is called with the units whose port has come up, or is gone.
	CameUp(units []intent.Unit)
	// Reattach is called for a port that has never come up though its parent is up.
	Reattach(ctx context.Context, p PendingPort)
}

// Pending are the subports that have not been up yet. OVN tells when one comes up. Where OVN
// does not know the port, Neutron is polled, for it sends no event: one call asks for many. A
// port that was up once counts as up: it comes up again with its virtual machine. It is safe
// for concurrent use.
type Pending struct {
	ports Ports
	// ovn is what OVN says of a port, if it knows the port.
	ovn     func(port string) (up, known bool)
	pace    Pace
	log     *slog.Logger
	changed signal.Signal

	mu      sync.Mutex // of all below
	waiting map[string]PendingPort
	up      map[string]bool
}

// NewPending returns Pending without ports. ovn says whether OVN sees the port up; known is
// false if OVN does not know the port. It must not block, and may be nil.
func NewPending(ports Ports, ovn func(port string) (up, known bool), pace Pace, log *slog.Logger) *Pending {
	if ovn == nil {
		ovn = func(string) (bool, bool) { return false, false }
	}
	return &Pending{
		ports: ports, ovn: ovn, pace: pace, log: log, changed: signal.New(), waiting: map[string]PendingPort{}, up: map[string]bool{},
	}
}

// Await has CameUp called once a port is up.
func (p *Pending) Await(port string, u intent.Unit, parent string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.await(port, u, parent)
}

// await is Await. p.mu is held.
func (p *Pending) await(port string, u intent.Unit, parent string) {
	was, known := p.waiting[port]
	if known && was.Unit == u || p.up[port] {
		return
	}
	if !known {
		was.ID, was.since = port, time.Now() //nolint:forbidigo // compared only with the time below
	}
	was.Unit, was.Parent = u, parent
	p.waiting[port] = was
	p.changed.Set()
}

// AwaitPooled watches a port of the pool, unless a unit has it by now.
func (p *Pending) AwaitPooled(port, parent string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.waiting[port]; !known {
		p.await(port, "", parent)
	}
}

// Forget forgets a port: it does not exist any more, or starts anew.
func (p *Pending) Forget(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, port)
	delete(p.up, port)
}

// ForgetPooled forgets a port of the pool, unless a unit waits for it by now.
func (p *Pending) ForgetPooled(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[port].Unit == "" {
		delete(p.waiting, port)
	}
}

// Keep forgets which ports were up, but for those that exist.
func (p *Pending) Keep(exists func(port string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.up, func(id string, _ bool) bool { return !exists(id) })
}

// IsUp tells whether a port is up, or was once. active is Neutron's word; OVN's counts more,
// for Neutron calls a subport up as soon as its parent is.
func (p *Pending) IsUp(port string, active bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up, known := p.ovn(port); known {
		return up || p.up[port]
	}
	return active || p.up[port]
}

// Up is to be called when OVN says that a port is up.
func (p *Pending) Up(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, waits := p.waiting[port]; waits {
		p.changed.Set()
	}
}

// Count is how many ports have not been up yet.
func (p *Pending) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Run looks at the ports until ctx ends.
func (p *Pending) Run(ctx context.Context) {
	again := time.NewTimer(p.pace.Looks.Longest)
	defer again.Stop()
	pauses := p.pace.Looks.Delays()
	for {
		select {
		case <-p.changed.C():
			pauses = p.pace.Looks.Delays()
		case <-again.C:
		case <-ctx.Done():
			return
		}
		again.Stop()
		if p.look(ctx); p.Count() > 0 {
			again.Reset(pauses())
		}
	}
}

// look asks once for all ports.
func (p *Pending) look(ctx context.Context) {
	p.mu.Lock()
	ids := slices.Sorted(maps.Keys(p.waiting))
	p.mu.Unlock()
	for some := range slices.Chunk(ids, portsPerCall) {
		active, err := p.active(ctx, some)
		if err != nil {
			if ctx.Err() == nil {
				p.log.Warn("reading the status of subports failed", "ports", len(some), "err", err)
			}
			continue
		}
		up, stuck := p.note(some, active, time.Now().Add(-p.pace.Stuck)) //nolint:forbidigo // as above
		p.ports.CameUp(up)
		for _, s := range stuck {
			p.log.Warn("a subport has never come up, attaching it again", "port", s.ID, "parent", s.Parent, "unit", s.Unit)
			p.ports.Reattach(ctx, s)
		}
	}
}

// active tells of ports and their parents whether they are up; nothing of those that are
// gone. Neutron is asked for what OVN does not know.
func (p *Pending) active(ctx context.Context, ids []string) (map[string]bool, error) {
	p.mu.Lock()
	all := map[string]bool{}
	for _, id := range ids {
		all[id], all[p.waiting[id].Parent] = true, true
	}
	p.mu.Unlock()
	delete(all, "") // of a port that has just been forgotten
	active := map[string]bool{}
	for id := range all {
		if up, known := p.ovn(id); known {
			active[id] = up
			delete(all, id)
		}
	}
	if len(all) == 0 {
		return active, nil
	}
	asked, err := p.ports.Active(ctx, slices.Sorted(maps.Keys(all)))
	maps.Copy(active, asked)
	return active, err
}

// note notes which ports are up, or gone. It returns the units that wait for them, and the
// ports that have not come up although their parent is up.
func (p *Pending) note(ids []string, active map[string]bool, before time.Time) (up []intent.Unit, stuck []PendingPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		w, waits := p.waiting[id]
		isUp, exists := active[id]
		switch {
		case !waits:
		case isUp || !exists:
			delete(p.waiting, id)
			if p.up[id] = true; !isUp {
				delete(p.up, id)
			}
			if w.Unit != "" {
				up = append(up, w.Unit)
			}
		case active[w.Parent] && w.since.Before(before):
			stuck = append(stuck, w)
			w.since = time.Now() //nolint:forbidigo // as above
			p.waiting[id] = w
		}
	}
	return up, stuck
}
