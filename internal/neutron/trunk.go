package neutron

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// The VLAN ids that there are.
const (
	firstVLAN = 1
	lastVLAN  = 4094
)

// subport is a port that is behind another, in Neutron's words.
type subport struct {
	Port string `json:"port_id"`
	Type string `json:"segmentation_type"`
	VLAN int    `json:"segmentation_id"`
}

// trunk is what is known of the ports behind one.
type trunk struct {
	id string
	// vlans are those of the ports behind it, whosever they are, by their ids.
	vlans map[string]int
	// last was given out last. The next one is another, for who had an id a
	// moment ago may still be plugged.
	last int
	// turn is taken by who changes what is behind it: Neutron refuses two at once.
	turn chan struct{}
}

// trunks are by the id of the port that others are behind.
type trunks map[string]*trunk

// learn takes over what Neutron says of a trunk.
func (b trunks) learn(w wire) *trunk {
	t := b[w.Port]
	if t == nil {
		t = &trunk{turn: make(chan struct{}, 1)}
		b[w.Port] = t
	}
	t.id, t.vlans = w.ID, map[string]int{}
	for _, s := range w.Subports {
		t.vlans[s.Port] = s.VLAN
	}
	return t
}

// relearn takes over all trunks as they were when somebody began to read them.
// What was done to a port since, is known better.
func (b trunks) relearn(found []wire, touched map[string]bool) {
	there := map[string]bool{}
	for _, w := range found {
		there[w.Port] = true
		was := map[string]int{}
		if t := b[w.Port]; t != nil {
			was = t.vlans
		}
		t := b.learn(w)
		maps.DeleteFunc(t.vlans, func(port string, _ int) bool { return touched[port] })
		for port, vlan := range was {
			if touched[port] {
				t.vlans[port] = vlan
			}
		}
	}
	maps.DeleteFunc(b, func(parent string, _ *trunk) bool { return !there[parent] })
}

// reserve chooses VLAN ids for ports that are to be behind a trunk's; false if
// there are not enough. A port has the one that it wishes for if that is free.
func (t *trunk) reserve(steps []step) ([]subport, bool) {
	taken := map[int]bool{}
	for _, vlan := range t.vlans {
		taken[vlan] = true
	}
	var out []subport
	for _, s := range steps {
		vlan, _ := s.fields["vlan"].(int)
		if vlan < firstVLAN || vlan > lastVLAN || taken[vlan] {
			vlan = t.free(taken)
		}
		if vlan == 0 {
			return nil, false
		}
		taken[vlan] = true
		out = append(out, subport{s.id, "vlan", vlan})
	}
	for _, s := range out {
		t.vlans[s.Port] = s.VLAN
	}
	return out, true
}

// free is the next VLAN id that nobody has, 0 if there is none.
func (t *trunk) free(taken map[int]bool) int {
	for range lastVLAN {
		t.last = t.last%lastVLAN + 1
		if !taken[t.last] {
			return t.last
		}
	}
	return 0
}

func (t *trunk) release(subs []subport) {
	for _, s := range subs {
		delete(t.vlans, s.Port)
	}
}

// place says of ports behind others what Neutron does not say of ports.
func (b trunks) place(all []object) []object {
	parents := map[string]string{}
	for parent, t := range b {
		for id := range t.vlans {
			parents[id] = parent
		}
	}
	for i, o := range all {
		if parent, behind := parents[o.id]; behind && o.kind == kindPort && text(o, "device_owner") == subportOwner {
			all[i] = o.behind(parent, b[parent].vlans[o.id])
		}
	}
	return all
}

// behind is a port that is behind another.
func (o object) behind(parent string, vlan int) object {
	o.fields = maps.Clone(o.fields)
	o.fields["device_owner"], o.fields["parent"], o.fields["vlan"] = subportOwner, parent, vlan
	return o
}

// loose is a port that is behind no other any more.
func (o object) loose() object {
	o.fields = maps.Clone(o.fields)
	o.fields["device_owner"] = ""
	delete(o.fields, "parent")
	delete(o.fields, "vlan")
	return o
}

// nests tells whether a port is, or was made to be, behind another.
func nests(f fields) bool {
	_, is := f["parent"]
	return is || f["device_owner"] == subportOwner
}

// attach puts ports behind a trunk's, all or none.
func (a *api) attach(ctx context.Context, trunk string, subs []subport, what string) error {
	return classifyError(attach, what, a.putTrunk(ctx, trunk, "add_subports", subs))
}

// detach takes ports from behind a trunk's, all or none.
func (a *api) detach(ctx context.Context, trunk string, ports []string, what string) error {
	var subs []fields
	for _, id := range ports {
		subs = append(subs, fields{"port_id": id})
	}
	return classifyError(detach, what, a.putTrunk(ctx, trunk, "remove_subports", subs))
}

func (a *api) putTrunk(ctx context.Context, trunk, deed string, subs any) error {
	var now wire
	_, err := a.client.Put(ctx, a.client.ServiceURL(kindTrunk.path(), trunk, deed), map[string]any{"sub_ports": subs}, &now, ok(http.StatusOK))
	return err
}

// askTrunk learns of the trunk on a port that others are to be behind.
func (f *Fabric) askTrunk(ctx context.Context, a *api, p intent.Port) error {
	f.mu.Lock()
	_, known := f.trunks[p.Parent]
	f.mu.Unlock()
	switch {
	case known, p.Parent == "":
		return nil
	case !a.aliases[extTrunk]:
		return intent.Stop{Reason: "NotSupported", Why: fmt.Sprintf("port %s cannot be behind port %s: this Neutron lacks extension %s", p.Name, p.Parent, extTrunk)}
	}
	_, err := f.readTrunk(ctx, a, p.Parent)
	return err
}

// readTrunk asks for the trunk on a port. Its error is a Wait if there is none.
func (f *Fabric) readTrunk(ctx context.Context, a *api, parent string) (*trunk, error) {
	found, err := a.list(ctx, kindTrunk, url.Values{"port_id": {parent}})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(found) == 0 {
		delete(f.trunks, parent)
		return nil, noTrunk(parent)
	}
	return f.trunks.learn(found[0]), nil
}

// NoTrunk is the reason of units with a port behind one that has no trunk.
const NoTrunk = "NoTrunk"

func noTrunk(parent string) error {
	return intent.Wait{Reason: NoTrunk, After: later, For: fmt.Sprintf("a trunk on port %s: openstack network trunk create --parent-port %s NAME", parent, parent)}
}

// enterTrunk begins a change of what is behind a port; leave ends it. Who waits for
// a trunk's turn is not yet one of the few that call: others go on meanwhile.
func (f *Fabric) enterTrunk(ctx context.Context, a *api, parent string) (t *trunk, leave func(), err error) {
	f.mu.Lock()
	t = f.trunks[parent]
	f.mu.Unlock()
	if t == nil {
		if t, err = f.readTrunk(ctx, a, parent); err != nil {
			return nil, nil, err
		}
	}
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	quiet, err := f.quiet.take(ctx, 1)
	if err != nil {
		<-t.turn
		return nil, nil, err
	}
	return t, func() { quiet(); <-t.turn }, nil
}
