package ovn

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// ParentCandidate is a port of somebody else's that a machine may be plugged into:
// Neutron's, named by its id there.
type ParentCandidate struct {
	ID     string
	MAC    intent.MAC
	Server string
	Addrs  []netip.Addr
}

// words are all that a host port may be looked up by.
func (p ParentCandidate) words() []string {
	words := []string{p.ID}
	for _, w := range []string{string(p.MAC), p.Server} {
		if w != "" {
			words = append(words, w)
		}
	}
	for _, a := range p.Addrs {
		words = append(words, a.String())
	}
	return words
}

// hostOf is the host port that a row is, if it is one.
func hostOf(m model.Model) (ParentCandidate, bool) {
	r, ok := m.(*nbdb.LogicalSwitchPort)
	if !ok || r.Type != "" || r.ParentName != nil || r.ExternalIDs[keyOwner] != "" {
		return ParentCandidate{}, false
	}
	p := portOf(r)
	return ParentCandidate{ID: r.Name, MAC: intent.MAC(strings.ToLower(string(p.MAC))), Server: r.ExternalIDs[neutronServer], Addrs: p.Addrs}, true
}

// hosts knows which ports a word leads to. The words are kept up with the
// replica; what a port is like is read there.
type hosts struct {
	mu    sync.Mutex
	named map[string][]string // names of ports by word, mostly one
}

func newHosts() *hosts { return &hosts{named: map[string][]string{}} }

// read takes all ports of the replica. What changes meanwhile is told after it.
func (h *hosts) read(v *view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range v.all(nbdb.LogicalSwitchPortTable) {
		if p, is := hostOf(m); is {
			h.add(p)
		}
	}
}

func (h *hosts) add(p ParentCandidate) {
	for _, w := range p.words() {
		if !slices.Contains(h.named[w], p.ID) {
			h.named[w] = append(h.named[w], p.ID)
		}
	}
}

func (h *hosts) remove(p ParentCandidate) {
	for _, w := range p.words() {
		h.named[w] = slices.DeleteFunc(h.named[w], func(name string) bool { return name == p.ID })
		if len(h.named[w]) == 0 {
			delete(h.named, w)
		}
	}
}

// change keeps up with a row, and returns the words that lead elsewhere now.
func (h *hosts) change(was, is model.Model) []string {
	before, had := hostOf(was)
	after, has := hostOf(is)
	if a, b := before.words(), after.words(); had == has && slices.Equal(a, b) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var words []string
	if had {
		h.remove(before)
		words = append(words, before.words()...)
	}
	if has {
		h.add(after)
		words = append(words, after.words()...)
	}
	return words
}

func (h *hosts) find(words []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, w := range words {
		names = append(names, h.named[w]...)
	}
	return setOf(names...)
}

// PortUp tells whether a port is up, whosever it is. It is not known of a port
// that is not there, or while the database cannot be reached.
func (f *Fabric) PortUp(name string) (is, known bool) {
	s := f.current()
	for _, m := range s.view().named(nbdb.LogicalSwitchPortTable, name) {
		return up(m), s.Alive()
	}
	return false, false
}

// Hosts are the ports of others that any of the words leads to: an id, a MAC, an
// address, the id of a virtual machine. In the order of their ids.
func (f *Fabric) Hosts(words ...string) []ParentCandidate {
	s := f.current()
	v := s.view()
	var found []ParentCandidate
	for _, name := range s.hosts.find(words) {
		for _, m := range v.named(nbdb.LogicalSwitchPortTable, name) {
			if p, is := hostOf(m); is {
				found = append(found, p)
			}
		}
	}
	return found
}
