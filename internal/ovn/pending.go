package ovn

import (
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// pending collects the changes that the watcher may have to notify of. Each unit,
// router, key and port is in it once, even if it changes several times before the
// watcher takes it.
type pending struct {
	mu         sync.Mutex
	units      map[intent.Unit]bool // true: notify without a comparison
	routers    map[string]bool
	parentKeys map[string]bool // keys of Fabric.ParentCandidates
	subportsUp map[string]bool // subports of others
	wake       signal.Signal
}

func newPending() *pending {
	return &pending{
		units: map[intent.Unit]bool{}, routers: map[string]bool{}, parentKeys: map[string]bool{}, subportsUp: map[string]bool{},
		wake: signal.New(),
	}
}

// addUnit adds a unit. sure stays true until the unit is taken.
func (p *pending) addUnit(u intent.Unit, sure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.units[u] = p.units[u] || sure
	p.wake.Set()
}

func (p *pending) addRouter(name string)    { p.add(p.routers, name) }
func (p *pending) addParentKey(key string)  { p.add(p.parentKeys, key) }
func (p *pending) addSubportUp(port string) { p.add(p.subportsUp, port) }

func (p *pending) add(to map[string]bool, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to[name] = true
	p.wake.Set()
}

// takeUnits removes and returns all units except those for which skip returns true.
func (p *pending) takeUnits(skip func(intent.Unit) bool) map[intent.Unit]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := map[intent.Unit]bool{}
	for u, sure := range p.units {
		if !skip(u) {
			taken[u] = sure
			delete(p.units, u)
		}
	}
	return taken
}

func (p *pending) takeRouters() []string    { return p.take(p.routers) }
func (p *pending) takeParentKeys() []string { return p.take(p.parentKeys) }
func (p *pending) takeSubportsUp() []string { return p.take(p.subportsUp) }

func (p *pending) take(from map[string]bool) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, 0, len(from))
	for name := range from {
		names = append(names, name)
	}
	clear(from)
	return names
}
