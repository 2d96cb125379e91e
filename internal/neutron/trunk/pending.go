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

// Pace has the intervals at which Pending checks ports.
type Pace struct {
	// Checks bounds the pauses between two checks. They are short after a new port, and
	// become longer.
	Checks retry.Backoff
	// Stuck is the time after which a port that is not up, although its parent is, is
	// attached again.
	Stuck time.Duration
}

// DefaultPace suits a Neutron that shows a port as up a fraction of a second after OVN.
var DefaultPace = Pace{Checks: retry.Backoff{First: 250 * time.Millisecond, Longest: 10 * time.Second}, Stuck: 30 * time.Second}

// portsPerCall is the maximum number of ports in one call. It limits the length of the
// URL.
const portsPerCall = 50

// PendingPort is a subport that has not been up yet.
type PendingPort struct {
	ID string
	// Unit is the unit that waits for the port, empty for a port of the pool.
	Unit   intent.Unit
	Parent string
	since  time.Time
}

// Ports is what Pending needs to know and do about ports.
type Ports interface {
	// Active returns which of the ports are up in Neutron. The map lacks ports that do
	// not exist.
	Active(ctx context.Context, ids []string) (map[string]bool, error)
	// CameUp is called with the units whose port has come up or is gone.
	CameUp(units []intent.Unit)
	// Reattach is called for a port that has not come up although its parent is up.
	Reattach(ctx context.Context, p PendingPort)
}

// Pending watches the subports that have not been up yet. OVN reports when one comes up.
// Ports that OVN does not know are polled in Neutron, which sends no event, many in one
// call. A port that was up once counts as up: after a restart of its virtual machine it
// comes up again. Pending is safe for concurrent use.
type Pending struct {
	ports Ports
	// ovn returns whether OVN sees a port as up. known is false if OVN does not know the
	// port.
	ovn     func(port string) (up, known bool)
	pace    Pace
	log     *slog.Logger
	changed signal.Signal

	mu      sync.Mutex // guards the fields below
	waiting map[string]PendingPort
	up      map[string]bool
}

// NewPending returns a Pending without ports. ovn returns whether OVN sees a port as up;
// known is false if OVN does not know the port. ovn must not block, and may be nil.
func NewPending(ports Ports, ovn func(port string) (up, known bool), pace Pace, log *slog.Logger) *Pending {
	if ovn == nil {
		ovn = func(string) (bool, bool) { return false, false }
	}
	return &Pending{
		ports: ports, ovn: ovn, pace: pace, log: log, changed: signal.New(), waiting: map[string]PendingPort{}, up: map[string]bool{},
	}
}

// Await watches a unit's port. CameUp is called with the unit when the port is up.
func (p *Pending) Await(port string, u intent.Unit, parent string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.await(port, u, parent)
}

// await implements Await. p.mu is held.
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

// AwaitPooled watches a port of the pool, unless a unit has the port by now.
func (p *Pending) AwaitPooled(port, parent string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.waiting[port]; !known {
		p.await(port, "", parent)
	}
}

// Forget stops watching a port, and no longer counts it as up.
func (p *Pending) Forget(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, port)
	delete(p.up, port)
}

// ForgetPooled stops watching a port of the pool, unless a unit waits for it by now.
func (p *Pending) ForgetPooled(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[port].Unit == "" {
		delete(p.waiting, port)
	}
}

// Keep drops the ports that do not exist from those that count as up.
func (p *Pending) Keep(exists func(port string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.up, func(id string, _ bool) bool { return !exists(id) })
}

// IsUp reports whether a port is or was up. active is Neutron's status. OVN's status
// takes precedence, because Neutron shows a subport as active as soon as its parent is.
func (p *Pending) IsUp(port string, active bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up, known := p.ovn(port); known {
		return up || p.up[port]
	}
	return active || p.up[port]
}

// Up must be called when OVN reports that a port is up. It starts a check of watched ports.
func (p *Pending) Up(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, waits := p.waiting[port]; waits {
		p.changed.Set()
	}
}

// Count returns how many ports have not been up yet.
func (p *Pending) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Run checks the ports until ctx ends.
func (p *Pending) Run(ctx context.Context) {
	again := time.NewTimer(p.pace.Checks.Longest)
	defer again.Stop()
	pauses := p.pace.Checks.Delays()
	for {
		select {
		case <-p.changed.C():
			pauses = p.pace.Checks.Delays()
		case <-again.C:
		case <-ctx.Done():
			return
		}
		again.Stop()
		if p.check(ctx); p.Count() > 0 {
			again.Reset(pauses())
		}
	}
}

// check checks all ports once.
func (p *Pending) check(ctx context.Context) {
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
		up, stuck := p.record(some, active, time.Now().Add(-p.pace.Stuck)) //nolint:forbidigo // as above
		p.ports.CameUp(up)
		for _, s := range stuck {
			p.log.Warn("a subport has never come up, attaching it again", "port", s.ID, "parent", s.Parent, "unit", s.Unit)
			p.ports.Reattach(ctx, s)
		}
	}
}

// active returns whether the ports and their parents are up. The map lacks ports that are
// gone. It asks Neutron only for ports that OVN does not know.
func (p *Pending) active(ctx context.Context, ids []string) (map[string]bool, error) {
	p.mu.Lock()
	all := map[string]bool{}
	for _, id := range ids {
		all[id], all[p.waiting[id].Parent] = true, true
	}
	p.mu.Unlock()
	delete(all, "") // the parent of a port that was forgotten meanwhile
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

// record removes the ports that are up or gone from those that are watched, and returns
// the units that wait for them. It also returns the ports that are not up although their
// parent is.
func (p *Pending) record(ids []string, active map[string]bool, before time.Time) (up []intent.Unit, stuck []PendingPort) {
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
