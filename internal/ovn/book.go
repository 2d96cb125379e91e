package ovn

import (
	"maps"
	"reflect"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// book knows what each unit wanted last and how that ended, so that a change
// in the database can be told to those whom it concerns and to nobody else.
type book struct {
	mu    sync.Mutex
	pages map[intent.Unit]*page
	// users are the units whose want says a name.
	users map[named]map[intent.Unit]bool
	// inherited are units that were there at first: whoever sweeps knows them.
	inherited map[intent.Unit]bool
	opened    bool
	// owners are the routers' names by their ports' UUIDs.
	owners map[string]string
	// shown are the routers as they were told last.
	shown map[string]Router

	// dirty are units to be looked at; true: told without a look.
	dirty map[intent.Unit]bool
	// routers are names to be looked at, hosts words that lead to other ports.
	routers map[string]bool
	hosts   map[string]bool
	// risen are ports of others that have come up.
	risen  map[string]bool
	notify *Notify
	wake   chan struct{}
}

type page struct {
	want intent.Want
	said error // how the last Apply ended
	busy int   // how many are under way
}

func newBook() *book {
	return &book{
		pages: map[intent.Unit]*page{}, users: map[named]map[intent.Unit]bool{}, inherited: map[intent.Unit]bool{},
		owners: map[string]string{}, shown: map[string]Router{},
		dirty: map[intent.Unit]bool{}, routers: map[string]bool{}, hosts: map[string]bool{}, risen: map[string]bool{}, wake: make(chan struct{}, 1),
	}
}

// begin notes what a unit wants from now on.
func (b *book) begin(u intent.Unit, w intent.Want) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.inherited, u)
	p := b.pages[u]
	if p == nil {
		p = &page{}
		b.pages[u] = p
	}
	b.unlist(u, p.want)
	p.want = w
	p.busy++
	for _, m := range mentions(w) {
		if b.users[m.named] == nil {
			b.users[m.named] = map[intent.Unit]bool{}
		}
		b.users[m.named][u] = true
	}
}

func (b *book) unlist(u intent.Unit, w intent.Want) {
	for _, m := range mentions(w) {
		delete(b.users[m.named], u)
		if len(b.users[m.named]) == 0 {
			delete(b.users, m.named)
		}
	}
}

// end notes how an Apply ended. A unit that has nothing and wants nothing is
// forgotten.
func (b *book) end(u intent.Unit, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[u]
	p.busy--
	p.said = err
	if err == nil && p.busy == 0 && len(mentions(p.want)) == 0 {
		delete(b.pages, u)
	}
	b.ring()
}

// recall is what a unit wants and how its last Apply ended.
func (b *book) recall(u intent.Unit) (w intent.Want, said error, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[u]
	if p == nil {
		return intent.Want{}, nil, false
	}
	return p.want, p.said, true
}

// touch marks a unit whose rows changed. Of one that nobody applied, nor was
// there at first, everything is news.
func (b *book) touch(u intent.Unit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.pages[u]
	if known || b.opened && !b.inherited[u] {
		b.dirty[u] = b.dirty[u] || !known
		b.ring()
	}
}

// call marks a unit to be told without a look.
func (b *book) call(u intent.Unit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty[u] = true
	b.ring()
}

// look has the unit looked at; one that is told without a look stays so.
func (b *book) look(u intent.Unit) {
	if _, marked := b.dirty[u]; !marked {
		b.dirty[u] = false
	}
}

// touchUsers marks the units that say a name.
func (b *book) touchUsers(table, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for u := range b.users[named{table, name}] {
		b.look(u)
	}
	b.ring()
}

func (b *book) touchRouter(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.routers[name] = true
	b.ring()
}

func (b *book) touchHosts(words []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range words {
		b.hosts[w] = true
	}
	b.ring()
}

func (b *book) rise(port string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.risen[port] = true
	b.ring()
}

// takeRisen hands over what has come up.
func (b *book) takeRisen() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	risen := b.risen
	b.risen = map[string]bool{}
	return risen
}

// own notes a router's ports, disown that they are no more.
func (b *book) own(router string, ports []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range ports {
		b.owners[p] = router
	}
}

func (b *book) disown(ports []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range ports {
		delete(b.owners, p)
	}
}

func (b *book) owner(port string) (router string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	router, ok = b.owners[port]
	return router, ok
}

// reopen marks everything: what is known and what the database has.
func (b *book) reopen(units map[intent.Unit]bool, routers map[string]bool, owners map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owners = owners
	for u := range units {
		if _, known := b.pages[u]; !known && !b.opened {
			b.inherited[u] = true
		} else if !known && !b.inherited[u] {
			b.dirty[u] = true
		}
	}
	for u := range b.pages {
		b.look(u)
	}
	maps.Copy(b.routers, routers)
	for name := range b.shown {
		b.routers[name] = true
	}
	b.hosts[""] = true
	b.opened = true
	b.ring()
}

// take hands over what is marked, but for units that are being applied: how
// those stand is seen at the end.
func (b *book) take() (n Notify, units map[intent.Unit]bool, routers, hosts map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	units = map[intent.Unit]bool{}
	if b.notify == nil {
		return Notify{}, nil, nil, nil
	}
	for u, sure := range b.dirty {
		if p := b.pages[u]; p == nil || p.busy == 0 {
			units[u] = sure
			delete(b.dirty, u)
		}
	}
	routers, b.routers = b.routers, map[string]bool{}
	hosts, b.hosts = b.hosts, map[string]bool{}
	return *b.notify, units, routers, hosts
}

// show notes a router as it is and says whether that is news.
func (b *book) show(name string, r Router, there bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, known := b.shown[name]
	if !there {
		delete(b.shown, name)
		return known
	}
	b.shown[name] = r
	return !known || !reflect.DeepEqual(was, r)
}

func (b *book) watch(n Notify) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notify = &n
	b.ring()
}

// ring wakes whoever tells. Once is enough for many marks.
func (b *book) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// bell tells all who listen that something has happened.
type bell struct {
	mu        sync.Mutex
	listeners chan struct{}
}

// next is closed when the bell rings next.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = make(chan struct{})
	}
	return b.listeners
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners != nil {
		close(b.listeners)
		b.listeners = nil
	}
}
