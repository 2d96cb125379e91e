package ovn

import (
	"maps"
	"reflect"
	"slices"
	"sync"
)

// routerIndex knows which router has which port. It also has each router as it was
// at the watcher's last notification.
type routerIndex struct {
	mu       sync.Mutex
	byPort   map[string]string // names of routers by their ports' UUIDs
	notified map[string]Router // by name
}

func newRouterIndex() *routerIndex {
	return &routerIndex{byPort: map[string]string{}, notified: map[string]Router{}}
}

// reopen replaces the ports of all routers when a session opens. It returns the
// routers of earlier notifications, some of which may no longer exist.
func (x *routerIndex) reopen(byPort map[string]string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byPort = byPort
	return slices.Collect(maps.Keys(x.notified))
}

// addPorts records that a router has these ports.
func (x *routerIndex) addPorts(router string, ports []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range ports {
		x.byPort[p] = router
	}
}

// removePorts records that these ports have no router.
func (x *routerIndex) removePorts(ports []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range ports {
		delete(x.byPort, p)
	}
}

// routerOf returns the router that has the port.
func (x *routerIndex) routerOf(port string) (name string, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	name, ok = x.byPort[port]
	return name, ok
}

// update records a router as it is now. It returns whether the router differs from
// the last notification.
func (x *routerIndex) update(name string, r Router, exists bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, known := x.notified[name]
	if !exists {
		delete(x.notified, name)
		return known
	}
	x.notified[name] = r
	return !known || !reflect.DeepEqual(before, r)
}
