package ovn

import (
	"hash/fnv"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// mostTags is how many VLAN ids there are: 1 to 4094.
const mostTags = 4094

// NoVLAN is the reason of units whose port finds no VLAN id behind its parent.
const NoVLAN = "NoVLAN"

// child is a port behind another, ours or not.
type child struct {
	parent string
	tag    int
}

func childOf(m model.Model) (child, bool) {
	r, ok := m.(*nbdb.LogicalSwitchPort)
	if !ok || r.ParentName == nil || r.Tag == nil {
		return child{}, false
	}
	return child{*r.ParentName, *r.Tag}, true
}

// siblings knows which VLAN ids are in use behind which port, whoever uses
// them. It is kept up with the replica.
type siblings struct {
	owner string
	mu    sync.Mutex
	// of has the ports' UUIDs, with the unit if it is ours.
	of    map[child]map[string]intent.Unit
	count map[string]int // tags in use, by parent
}

func newSiblings(owner string) *siblings {
	return &siblings{owner: owner, of: map[child]map[string]intent.Unit{}, count: map[string]int{}}
}

// read takes all ports of the replica. What changes meanwhile is told after it.
func (s *siblings) read(v *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range v.all(nbdb.LogicalSwitchPortTable) {
		s.add(m)
	}
}

func (s *siblings) add(m model.Model) {
	c, is := childOf(m)
	if !is {
		return
	}
	if s.of[c] == nil {
		s.of[c] = map[string]intent.Unit{}
		s.count[c.parent]++
	}
	uuid, _, ids := header(m)
	s.of[c][uuid] = ""
	if ids[keyOwner] == s.owner {
		s.of[c][uuid] = intent.Unit(ids[keyUnit])
	}
}

func (s *siblings) remove(m model.Model) {
	c, is := childOf(m)
	if !is {
		return
	}
	uuid, _, _ := header(m)
	if _, known := s.of[c][uuid]; !known {
		return // an update is told of by both its halves, or before all was read
	}
	delete(s.of[c], uuid)
	if len(s.of[c]) > 0 {
		return
	}
	delete(s.of, c)
	if s.count[c.parent]--; s.count[c.parent] == 0 {
		delete(s.count, c.parent)
	}
}

// change keeps up with a row. It returns our units that share a tag with it
// now, and the port behind which a tag came free where there was none.
func (s *siblings) change(was, is model.Model) (clash []intent.Unit, freed string) {
	before, had := childOf(was)
	after, has := childOf(is)
	if had == has && before == after {
		return nil, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	full := had && s.count[before.parent] >= mostTags
	s.remove(was)
	s.add(is)
	if full && s.count[before.parent] < mostTags {
		freed = before.parent
	}
	if len(s.of[after]) > 1 {
		for _, u := range s.of[after] {
			if u != "" {
				clash = append(clash, u)
			}
		}
	}
	return clash, freed
}

// tags says which VLAN id each port behind another is to have, by its name: the
// one that it asks for, the one that it has, or any that is free. A port that
// is not among them finds none.
func (s *siblings) tags(ports []intent.Port, have []had) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	chosen, mine := map[string]int{}, map[child]bool{}
	for _, p := range ports {
		if p.Parent == "" {
			continue
		}
		uuid, has := tagOf(have, p)
		free := func(tag int) bool {
			c := child{p.Parent, tag}
			_, itself := s.of[c][uuid]
			return !mine[c] && (len(s.of[c]) == 0 || len(s.of[c]) == 1 && itself)
		}
		if tag, ok := choose([]int{p.Tag, has}, p.Name+p.Version, free); ok {
			chosen[p.Name], mine[child{p.Parent, tag}] = tag, true
		}
	}
	return chosen
}

// tagOf is the VLAN id that a port has behind the one that it wants to be behind.
func tagOf(have []had, p intent.Port) (uuid string, tag int) {
	for _, h := range have {
		if h.table != nbdb.LogicalSwitchPortTable || h.key != kindPort+p.Name {
			continue
		}
		parents, _ := h.columns["parent_name"].(set)
		tags, _ := h.columns["tag"].(ints)
		if len(parents) == 1 && parents[0] == p.Parent && len(tags) == 1 {
			return h.uuid, tags[0]
		}
		return h.uuid, 0
	}
	return "", 0
}

// choose takes the first free one of the preferred, then those after a number
// that the seed gives: two that choose at the same time seldom meet, and who
// follows another of its name seldom gets a VLAN id that is still being taken down.
func choose(preferred []int, seed string, free func(int) bool) (int, bool) {
	for _, tag := range preferred {
		if tag != 0 && free(tag) {
			return tag, true
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(seed))
	first := int(h.Sum32() % mostTags)
	for i := range mostTags {
		if tag := (first+i)%mostTags + 1; free(tag) {
			return tag, true
		}
	}
	return 0, false
}
