package neutron

import (
	"context"
	"maps"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/trunks"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
)

// behind is a port that is attached to a trunk.
func (o object) behind(at trunk.Attachment) object {
	o.fields = maps.Clone(o.fields)
	o.fields["device_owner"], o.fields["parent"], o.fields["vlan"] = subportOwner, at.Parent, at.VLAN
	return o
}

// loose is a port that is on no trunk any more.
func (o object) loose() object {
	o.fields = maps.Clone(o.fields)
	o.fields["device_owner"] = ""
	delete(o.fields, "parent")
	delete(o.fields, "vlan")
	return o
}

// nests tells whether a port is, or was made to be, a subport.
func nests(f fields) bool {
	_, is := f["parent"]
	return is || f["device_owner"] == subportOwner
}

// unplaced tells whether an object is a subport, and nobody knows of which port.
func unplaced(o object) bool {
	return o.kind == kindPort && text(o, "device_owner") == subportOwner && o.fields["parent"] == nil
}

// place says of subports where they are attached: Neutron says it of trunks only.
func place(all []object, find func(port string) (trunk.Attachment, bool)) []object {
	out := slices.Clone(all)
	for i, o := range out {
		if o.kind != kindPort || text(o, "device_owner") != subportOwner {
			continue
		}
		if at, attached := find(o.id); attached {
			out[i] = o.behind(at)
		}
	}
	return out
}

// placed says of subports where they are attached. Neutron is asked only if nobody knows.
func (f *Fabric) placed(ctx context.Context, a *api, all []object) ([]object, error) {
	all = place(all, f.trunks.Find)
	if !slices.ContainsFunc(all, unplaced) {
		return all, nil
	}
	found, err := a.Trunks(ctx, "")
	if err != nil {
		return nil, err
	}
	f.trunks.Learn(found)
	return place(all, f.trunks.Find), nil
}

// attach attaches a unit's ports to one trunk, all in one call.
func (f *Fabric) attach(ctx context.Context, a *api, e *entry, steps []step) error {
	parent := text(steps[0].object, "parent")
	attached, err := f.trunks.Attach(ctx, a, parent, subports(steps))
	for _, s := range attached {
		f.touch(s.Port)
		if i := e.index(object{kind: kindPort, id: s.Port}); i >= 0 {
			e.objects[i] = e.objects[i].behind(trunk.Attachment{Parent: parent, VLAN: s.VLAN})
		}
	}
	return err
}

// detach detaches a unit's ports from one trunk, all in one call.
func (f *Fabric) detach(ctx context.Context, a *api, e *entry, steps []step) error {
	if err := f.trunks.Detach(ctx, a, text(steps[0].object, "parent"), subports(steps)); err != nil {
		return err
	}
	for _, s := range steps {
		f.touch(s.id)
		if i := e.index(s.object); i >= 0 {
			e.objects[i] = e.objects[i].loose()
		}
	}
	return nil
}

func subports(steps []step) []trunk.Subport {
	var out []trunk.Subport
	for _, s := range steps {
		vlan, _ := s.fields["vlan"].(int)
		out = append(out, trunk.Subport{Port: s.id, Name: s.name, VLAN: vlan})
	}
	return out
}

// describeSubports names what a call is about, as describe does.
func describeSubports(ports []trunk.Subport) string {
	var steps []step
	for _, p := range ports {
		steps = append(steps, step{object: object{kind: kindPort, name: p.Name}})
	}
	return describe(steps)
}

// Trunks is that of trunk.API. gophercloud's own list of trunks does not follow the links
// from one page to the next.
func (a *api) Trunks(ctx context.Context, parent string) ([]trunk.Trunk, error) {
	query := url.Values{}
	if parent != "" {
		query.Set("port_id", parent)
	}
	found, err := a.list(ctx, kindTrunk, query)
	out := []trunk.Trunk{}
	for _, w := range found {
		t := trunk.Trunk{ID: w.ID, Parent: w.Port}
		for _, s := range w.Subports {
			t.Subports = append(t.Subports, trunk.Subport{Port: s.PortID, VLAN: s.SegmentationID})
		}
		out = append(out, t)
	}
	return out, err
}

// AddSubports is that of trunk.API.
func (a *api) AddSubports(ctx context.Context, id string, ports []trunk.Subport) error {
	var opts trunks.AddSubportsOpts
	for _, p := range ports {
		opts.Subports = append(opts.Subports, trunks.Subport{PortID: p.Port, SegmentationType: "vlan", SegmentationID: p.VLAN})
	}
	return classifyError(attach, describeSubports(ports), trunks.AddSubports(ctx, a.client, id, opts).Err)
}

// RemoveSubports is that of trunk.API.
func (a *api) RemoveSubports(ctx context.Context, id string, ports []trunk.Subport) error {
	var opts trunks.RemoveSubportsOpts
	for _, p := range ports {
		opts.Subports = append(opts.Subports, trunks.RemoveSubport{PortID: p.Port})
	}
	return classifyError(detach, describeSubports(ports), trunks.RemoveSubports(ctx, a.client, id, opts).Err)
}

// PortNotUp is the reason of units whose port has not been up yet.
const PortNotUp = "PortNotUp"

// awaitUp returns an intent.Wait if a unit's ports must have been up and have not.
func (f *Fabric) awaitUp(u intent.Unit, w intent.Want, seen intent.Observed) error {
	for _, p := range w.Ports {
		if b, exists := seen.Ports[p.Name]; exists && p.MustBeUp && p.Parent != "" && !seen.Up[p.Name] {
			f.pending.Await(b.ID, u, p.Parent)
			return intent.Wait{Reason: PortNotUp, For: "port " + p.Name + " to come up"}
		}
	}
	return nil
}

func (f *Fabric) isUp(o object) bool { return f.pending.IsUp(o.id, text(o, "status") == "ACTIVE") }

// Rose is to be called when OVN says that a port is up.
func (f *Fabric) Rose(port string) { f.pending.Up(port) }

// pendingPorts is what trunk.Pending asks and tells of ports.
type pendingPorts struct{ f *Fabric }

// Active is that of trunk.Ports.
func (p pendingPorts) Active(ctx context.Context, ids []string) (map[string]bool, error) {
	a, err := p.f.api(ctx)
	if err != nil {
		return nil, err
	}
	found, err := a.list(ctx, kindPort, url.Values{"id": ids})
	active := map[string]bool{}
	for _, w := range found {
		active[w.ID] = w.Status == "ACTIVE"
	}
	return active, err
}

// CameUp is that of trunk.Ports.
func (p pendingPorts) CameUp(units []intent.Unit) { p.f.wake(units) }

// Reattach is that of trunk.Ports: an event was lost. A port of the pool is replaced.
func (p pendingPorts) Reattach(ctx context.Context, port trunk.PendingPort) {
	f := p.f
	if port.Unit == "" {
		f.PortPool.Discard(port.ID)
		f.pending.Forget(port.ID)
		return
	}
	a, err := f.api(ctx)
	if err != nil {
		return // the next look tries again
	}
	e := f.enter(port.Unit)
	defer f.leave(port.Unit, e)
	i := e.index(object{kind: kindPort, id: port.ID})
	if i < 0 || !e.sure || e.objects[i].fields["parent"] != port.Parent {
		return
	}
	o := object{kind: kindPort, name: e.objects[i].name, id: port.ID}
	off := o
	off.fields = fields{"parent": port.Parent}
	if err := f.run(ctx, a, e, []step{{detach, off}, attaching(o, port.Parent, e.objects[i].fields["vlan"])}); err != nil {
		f.Log.Warn("attaching a subport again failed", "unit", port.Unit, "port", port.ID, "err", err)
		f.wake([]intent.Unit{port.Unit})
	}
}
