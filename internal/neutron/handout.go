package neutron

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// isPod reports whether a unit's ports may come from the pool.
func isPod(u intent.Unit) bool { return strings.HasPrefix(string(u), "pod/") }

// poolUnit returns the unit in the tags of a pool's ports, which belong to no Kubernetes
// object.
func poolUnit(node string) intent.Unit { return intent.Unit("pool/" + node) }

func nodeOfPool(u intent.Unit) (string, bool) { return strings.CutPrefix(string(u), "pool/") }

// pooled reports whether a unit is a pool. A port without a unit counts as a pool's.
func pooled(u intent.Unit) bool { _, is := nodeOfPool(u); return is || u == "" }

func splitIDs(ids string) []string { return strings.Split(ids, ",") }

// takeFromPool gives the unit ready ports in place of those that it would have to create.
func (f *Fabric) takeFromPool(u intent.Unit, e *entry) {
	if !isPod(u) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range e.want {
		f.askPool(o.Fields)
	}
	for _, s := range plan.Diff(e.objects, e.want, nil) {
		if s.Verb != plan.Create || s.Kind != plan.KindPort {
			continue
		}
		if p, found := f.PortPool.Obtain(requestOf(s.Fields)); found {
			e.objects = append(e.objects, p.Record.(plan.Object))
			f.handedOut[p.ID] = u
		}
	}
}

// askPool notifies the pool that a pod wants such a port. f.mu is held.
func (f *Fabric) askPool(want plan.Fields) {
	r := requestOf(want)
	if r.Key.Parent != "" {
		f.nodes[r.Key.Parent] = r.Key.Node
	}
	f.PortPool.Ask(r, f.alwaysFilled(r))
}

// alwaysFilled reports whether the pool of such ports stays filled even if it is hardly
// used. f.mu is held.
func (f *Fabric) alwaysFilled(r portpool.Request) bool {
	if f.AlwaysFilled == nil || r.Key.Groups == "" || f.NodeExists != nil && !f.NodeExists(r.Key.Node) {
		return false
	}
	var names []string
	for _, id := range splitIDs(r.Key.Groups) {
		names = append(names, f.groups.nameOf(id))
	}
	node := r.Key.Node
	if r.Key.Parent != "" {
		node = ""
	}
	return f.AlwaysFilled(node, plan.Sorted(names))
}

// returnToPool returns ports to the pool, and the steps without the deletion of these ports.
func (f *Fabric) returnToPool(e *entry, steps []plan.Step) []plan.Step {
	f.mu.Lock()
	defer f.mu.Unlock()
	returned := map[string]bool{}
	for _, s := range steps {
		i := e.index(s.Object)
		if s.Verb != plan.Delete || s.Kind != plan.KindPort || i < 0 || !f.PortPool.Return(f.portOf(e.objects[i])) {
			continue
		}
		returned[s.ID] = true
		e.objects = slices.Delete(e.objects, i, i+1)
		delete(f.handedOut, s.ID)
	}
	return slices.DeleteFunc(steps, func(s plan.Step) bool { return returned[s.ID] && s.Kind == plan.KindPort })
}

// drainPools drains the pools whose network, subnet or group is about to be deleted.
func (f *Fabric) drainPools(steps []plan.Step) {
	for _, s := range steps {
		if s.Verb != plan.Delete || s.Kind == plan.KindPort {
			continue
		}
		f.PortPool.Drain(func(k portpool.Key) bool {
			return k.Network == s.ID || slices.Contains(splitIDs(k.Subnets), s.ID) || slices.Contains(splitIDs(k.Groups), s.ID)
		})
	}
}

// addressesFree returns an intent.Wait if the pool still holds an address or the MAC of a
// port that is to be created.
func (f *Fabric) addressesFree(steps []plan.Step) error {
	for _, s := range steps {
		if s.Verb == plan.Create && s.Kind == plan.KindPort {
			if err := f.PortPool.AddressFree(requestOf(s.Fields)); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncPool passes to the pool which ports exist, and which of them are the pool's. f.mu
// is held.
func (f *Fabric) syncPool(all map[intent.Unit][]plan.Object) {
	parents := map[string]string{} // by the object's id
	for u, objects := range all {
		for _, o := range objects {
			parents[o.ID] = o.Text("parent")
			f.storeNode(u, o)
		}
	}
	f.pending.Keep(func(id string) bool { _, exists := parents[id]; return exists || f.touched[id] })
	var found []portpool.Port
	for _, u := range slices.Sorted(maps.Keys(all)) {
		for _, o := range all[u] {
			if pooled(u) && o.Kind == plan.KindPort && !f.touched[o.ID] {
				found = append(found, f.portOf(o))
			}
		}
	}
	f.PortPool.Sync(func(p portpool.Port) bool {
		parent, exists := parents[p.ID]
		return exists && parent == p.Key.Parent || f.touched[p.ID]
	}, found)
}

// storeNode stores the node of the parent port of a pool's subport. f.mu is held.
func (f *Fabric) storeNode(u intent.Unit, o plan.Object) {
	if node, is := nodeOfPool(u); is && o.Text("parent") != "" && f.nodes[o.Text("parent")] == "" {
		f.nodes[o.Text("parent")] = node
	}
}

// nodeOf returns the node that a port is for, empty if unknown. f.mu is held.
func (f *Fabric) nodeOf(o plan.Object) string {
	if parent := o.Text("parent"); parent != "" {
		return f.nodes[parent]
	}
	return o.Text("binding:host_id")
}

// portOf returns the pool's record of a port. f.mu is held.
func (f *Fabric) portOf(o plan.Object) portpool.Port {
	key, fits := keyOf(o.Fields, f.nodeOf(o))
	return portpool.Port{
		ID: o.ID, Key: key, Fits: fits, Record: o, Address: addressOf(o.Fields),
		Clean:   o.Name == plan.PooledName && o.Text("device_id") == "",
		Plugged: o.Text("status") == "ACTIVE",
	}
}

// requestOf returns the pool's request for a wanted port.
func requestOf(want plan.Fields) portpool.Request {
	o := plan.Object{Kind: plan.KindPort, Fields: want}
	node := o.Text("binding:host_id")
	if o.Text("parent") != "" {
		node = o.Text("node")
	}
	key, fits := keyOf(want, node)
	return portpool.Request{
		Key: key, Fits: fits, Address: addressOf(want),
		Accepts: func(p portpool.Port) bool { return plan.CanBecome(p.Record.(plan.Object), o) },
	}
}

// keyOf returns the key of the pool that a port on a node belongs to, and false if no
// pool can have the port.
func keyOf(f plan.Fields, node string) (portpool.Key, bool) {
	o := plan.Object{Fields: f}
	groups, _ := f["security_groups"].(plan.Set)
	k := portpool.Key{
		Node: node, Project: o.Text("project_id"), Network: o.Text("network_id"), Parent: o.Text("parent"),
		Groups: strings.Join(plan.Sorted(groups), ","),
	}
	ips, _ := f["fixed_ips"].(plan.FixedIPs)
	var subnets []string
	for _, ip := range ips {
		subnets = append(subnets, ip.Subnet)
	}
	k.Subnets = strings.Join(plan.Sorted(subnets), ",")
	foreign := f["device_owner"] != plan.DeviceOwner && (k.Parent == "" || f["device_owner"] != plan.SubportOwner)
	return k, k.Complete() && !foreign && f["port_security_enabled"] != false && !slices.Contains(subnets, "")
}

// addressOf returns the MAC and the addresses in a port's fields.
func addressOf(f plan.Fields) portpool.Address {
	o := plan.Object{Fields: f}
	a := portpool.Address{Network: o.Text("network_id"), MAC: intent.MAC(o.Text("mac_address"))}
	ips, _ := f["fixed_ips"].(plan.FixedIPs)
	for _, ip := range ips {
		if addr, err := netip.ParseAddr(ip.Addr); err == nil {
			a.Addrs = append(a.Addrs, addr)
		}
	}
	slices.SortFunc(a.Addrs, netip.Addr.Compare)
	return a
}

// PoolOf returns the key of the pool that a pod's port would come from. It returns the
// same errors as Apply, and an intent.Stop if no pool has such ports.
func (f *Fabric) PoolOf(ctx context.Context, p intent.Port) (portpool.Key, error) {
	want, err := f.poolable(ctx, p)
	return requestOf(want).Key, err
}

// Expect has the pool for such a port filled before a pod asks for one. It returns the
// same errors as PoolOf.
func (f *Fabric) Expect(ctx context.Context, p intent.Port) error {
	want, err := f.poolable(ctx, p)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.askPool(want)
	return nil
}

// poolable returns the Neutron fields of a pod's port. It returns an intent.Stop if no
// pool has such ports.
func (f *Fabric) poolable(ctx context.Context, p intent.Port) (plan.Fields, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	w := intent.Want{Ports: []intent.Port{p}}
	deps, err := f.dependencies(ctx, a, w, &entry{})
	if err != nil {
		return nil, err
	}
	want, err := plan.Translate(plan.Owner{Name: f.Owner, Unit: poolUnit(p.Node)}, w, deps)
	if err != nil {
		return nil, err
	}
	if r := requestOf(want[0].Fields); !r.Fits || r.MAC != "" || len(r.Addrs) > 0 {
		return nil, intent.Stop{Reason: "InvalidSpec", Why: fmt.Sprintf(
			"no pool has ports on node %s in network %s: they are created one by one", p.Node, p.Network)}
	}
	return want[0].Fields, nil
}
