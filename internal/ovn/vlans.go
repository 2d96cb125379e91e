package ovn

import (
	"hash/fnv"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// vlan is a VLAN id behind a parent port.
type vlan struct {
	parent string
	tag    int
}

// vlanOf returns the VLAN id of a port that has a parent, whoever owns the port. ok
// is false for other rows and for nil.
func vlanOf(m model.Model) (id vlan, ok bool) {
	r, ok := m.(*nbdb.LogicalSwitchPort)
	if !ok || r.ParentName == nil || r.Tag == nil {
		return vlan{}, false
	}
	return vlan{*r.ParentName, *r.Tag}, true
}

// vlanAllocator knows which VLAN ids the ports of all owners use behind each parent
// port, and chooses free ones. It follows the replica.
type vlanAllocator struct {
	cluster string
	mu      sync.Mutex
	// users has the UUIDs of the ports, each with its unit if it is ours.
	users map[vlan]map[string]intent.Unit
	count map[string]int // VLAN ids in use, by parent
}

func newVLANAllocator(cluster string) *vlanAllocator {
	return &vlanAllocator{cluster: cluster, users: map[vlan]map[string]intent.Unit{}, count: map[string]int{}}
}

// read adds all ports of the replica. update adds later changes.
func (a *vlanAllocator) read(v *view) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range v.all(nbdb.LogicalSwitchPortTable) {
		a.add(m)
	}
}

func (a *vlanAllocator) add(m model.Model) {
	id, ok := vlanOf(m)
	if !ok {
		return
	}
	if a.users[id] == nil {
		a.users[id] = map[string]intent.Unit{}
		a.count[id.parent]++
	}
	uuid, _, ids := rows.Header(m)
	a.users[id][uuid] = ""
	if ids[rows.KeyOwner] == a.cluster {
		a.users[id][uuid] = intent.Unit(ids[rows.KeyUnit])
	}
}

func (a *vlanAllocator) remove(m model.Model) {
	id, ok := vlanOf(m)
	if !ok {
		return
	}
	uuid, _, _ := rows.Header(m)
	if _, known := a.users[id][uuid]; !known {
		return // rowChanged reports an update twice, and perhaps one from before read
	}
	delete(a.users[id], uuid)
	if len(a.users[id]) > 0 {
		return
	}
	delete(a.users, id)
	if a.count[id.parent]--; a.count[id.parent] == 0 {
		delete(a.count, id.parent)
	}
}

// update follows a changed row. It returns our units whose ports now share a VLAN
// id with it, and the parent port behind which one is free again if all were in
// use before.
func (a *vlanAllocator) update(before, after model.Model) (clash []intent.Unit, freed string) {
	idBefore, had := vlanOf(before)
	idAfter, has := vlanOf(after)
	if had == has && idBefore == idAfter {
		return nil, ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	full := had && a.count[idBefore.parent] >= rows.MaxVLAN
	a.remove(before)
	a.add(after)
	if full && a.count[idBefore.parent] < rows.MaxVLAN {
		freed = idBefore.parent
	}
	if len(a.users[idAfter]) > 1 {
		for _, u := range a.users[idAfter] {
			if u != "" {
				clash = append(clash, u)
			}
		}
	}
	return clash, freed
}

// allocate returns the VLAN id for each port that has a parent, by port name: the
// one that it asks for, the one that its row has, or any other, whichever is free.
// A port for which none is free is missing from the result.
func (a *vlanAllocator) allocate(ports []intent.Port, existing []rows.Existing) map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	chosen, taken := map[string]int{}, map[vlan]bool{}
	for _, p := range ports {
		if p.Parent == "" {
			continue
		}
		uuid, current := currentVLAN(existing, p)
		free := func(tag int) bool {
			id := vlan{p.Parent, tag}
			_, itself := a.users[id][uuid]
			return !taken[id] && (len(a.users[id]) == 0 || len(a.users[id]) == 1 && itself)
		}
		if tag, ok := firstFree([]int{p.Tag, current}, p.Name+p.Version, free); ok {
			chosen[p.Name], taken[vlan{p.Parent, tag}] = tag, true
		}
	}
	return chosen
}

// currentVLAN returns the UUID of a port's row, and the VLAN id that the row has
// behind the parent that p wants; 0 if it has none there.
func currentVLAN(existing []rows.Existing, p intent.Port) (uuid string, tag int) {
	for _, r := range existing {
		if !r.IsPort(p.Name) {
			continue
		}
		if parent, tag := r.Parent(); parent == p.Parent {
			return r.UUID, tag
		}
		return r.UUID, 0
	}
	return "", 0
}

// firstFree returns the first free one of the preferred VLAN ids, or else of all,
// beginning at one that seed gives. So two clients that choose at the same time
// seldom choose the same one, and a pod with the name of an earlier one seldom
// gets the VLAN id that a node is still removing.
func firstFree(preferred []int, seed string, free func(int) bool) (tag int, ok bool) {
	for _, tag := range preferred {
		if tag != 0 && free(tag) {
			return tag, true
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(seed))
	first := int(h.Sum32() % rows.MaxVLAN)
	for i := range rows.MaxVLAN {
		if tag := (first+i)%rows.MaxVLAN + 1; free(tag) {
			return tag, true
		}
	}
	return 0, false
}
