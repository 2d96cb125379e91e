package ovn

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// ParentCandidate is a port of another owner that may be a node's parent port:
// the port of a virtual machine.
type ParentCandidate struct {
	// ID is the port's name in OVN, which is its id in Neutron.
	ID string
	// MAC is in lower case.
	MAC intent.MAC
	// Server is the id of the virtual machine; empty if unknown.
	Server string
	Addrs  []netip.Addr
}

// keys returns the keys by which ParentCandidates finds the port.
func (p ParentCandidate) keys() []string {
	keys := []string{p.ID}
	for _, k := range []string{string(p.MAC), p.Server} {
		if k != "" {
			keys = append(keys, k)
		}
	}
	for _, a := range p.Addrs {
		keys = append(keys, a.String())
	}
	return keys
}

// candidateOf returns the parent candidate that the row describes. ok is false for
// other rows and for nil.
func candidateOf(m model.Model) (p ParentCandidate, ok bool) {
	r, ok := m.(*nbdb.LogicalSwitchPort)
	if !ok || r.Type != "" || r.ParentName != nil || r.ExternalIDs[rows.KeyOwner] != "" {
		return ParentCandidate{}, false
	}
	port := rows.PortOf(r)
	mac := intent.MAC(strings.ToLower(string(port.MAC)))
	return ParentCandidate{ID: r.Name, MAC: mac, Server: r.ExternalIDs[rows.NeutronDevice], Addrs: port.Addrs}, true
}

// parentIndex finds the names of parent candidates by their keys. It follows the
// replica, which has the other data of the ports.
type parentIndex struct {
	mu    sync.Mutex
	ports map[string][]string // names by key, mostly one
}

func newParentIndex() *parentIndex { return &parentIndex{ports: map[string][]string{}} }

// read adds all ports of the replica. update adds later changes.
func (x *parentIndex) read(v *view) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range v.all(nbdb.LogicalSwitchPortTable) {
		if p, ok := candidateOf(m); ok {
			x.add(p)
		}
	}
}

func (x *parentIndex) add(p ParentCandidate) {
	for _, k := range p.keys() {
		if !slices.Contains(x.ports[k], p.ID) {
			x.ports[k] = append(x.ports[k], p.ID)
		}
	}
}

func (x *parentIndex) remove(p ParentCandidate) {
	for _, k := range p.keys() {
		x.ports[k] = slices.DeleteFunc(x.ports[k], func(name string) bool { return name == p.ID })
		if len(x.ports[k]) == 0 {
			delete(x.ports, k)
		}
	}
}

// update follows a changed row and returns the keys that now find other ports.
func (x *parentIndex) update(before, after model.Model) []string {
	was, had := candidateOf(before)
	is, has := candidateOf(after)
	if had == has && slices.Equal(was.keys(), is.keys()) {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var keys []string
	if had {
		x.remove(was)
		keys = append(keys, was.keys()...)
	}
	if has {
		x.add(is)
		keys = append(keys, is.keys()...)
	}
	return keys
}

// find returns the sorted names of the ports that have any of the keys.
func (x *parentIndex) find(keys []string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var names []string
	for _, k := range keys {
		names = append(names, x.ports[k]...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ParentCandidates returns the ports of others that have any of the keys, sorted by
// id. A key is a port's id, a MAC in lower case, an address, or the id of a virtual
// machine.
func (f *Fabric) ParentCandidates(keys ...string) []ParentCandidate {
	s := f.current()
	var found []ParentCandidate
	for _, name := range s.parents.find(keys) {
		for _, m := range s.view().named(nbdb.LogicalSwitchPortTable, name) {
			if p, ok := candidateOf(m); ok {
				found = append(found, p)
			}
		}
	}
	return found
}

// PortUp returns whether a port is up, whoever owns it. known is false if there is no
// such port or the database is not connected.
func (f *Fabric) PortUp(name string) (up, known bool) {
	s := f.current()
	for _, m := range s.view().named(nbdb.LogicalSwitchPortTable, name) {
		return isUp(m), s.Alive()
	}
	return false, false
}
