package neutron

import (
	"context"
	"net/url"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
)

// placeSubports adds to subports the trunk that they are attached to. It asks Neutron
// only if the trunk of one is unknown.
func (f *Fabric) placeSubports(ctx context.Context, a *client.Client, all []plan.Object) ([]plan.Object, error) {
	all = plan.Place(all, f.trunks.Find)
	if !slices.ContainsFunc(all, plan.Unplaced) {
		return all, nil
	}
	found, err := a.Trunks(ctx, "")
	if err != nil {
		return nil, err
	}
	f.trunks.Learn(found)
	return plan.Place(all, f.trunks.Find), nil
}

// attach attaches a unit's ports to one trunk, all in one call.
func (f *Fabric) attach(ctx context.Context, a *client.Client, e *entry, steps []plan.Step) error {
	parent := steps[0].Text("parent")
	attached, err := f.trunks.Attach(ctx, a, parent, subports(steps))
	for _, s := range attached {
		f.touch(s.Port)
		if i := e.index(plan.Object{Kind: plan.KindPort, ID: s.Port}); i >= 0 {
			e.objects[i] = e.objects[i].OnTrunk(trunk.Attachment{Parent: parent, VLAN: s.VLAN})
		}
	}
	return err
}

// detach detaches a unit's ports from one trunk, all in one call.
func (f *Fabric) detach(ctx context.Context, a *client.Client, e *entry, steps []plan.Step) error {
	if err := f.trunks.Detach(ctx, a, steps[0].Text("parent"), subports(steps)); err != nil {
		return err
	}
	for _, s := range steps {
		f.touch(s.ID)
		if i := e.index(s.Object); i >= 0 {
			e.objects[i] = e.objects[i].OffTrunk()
		}
	}
	return nil
}

func subports(steps []plan.Step) []trunk.Subport {
	var out []trunk.Subport
	for _, s := range steps {
		vlan, _ := s.Fields["vlan"].(int)
		out = append(out, trunk.Subport{Port: s.ID, Name: s.Name, VLAN: vlan})
	}
	return out
}

// PortNotUp is the reason of the intent.Wait for a port that has not been up yet.
const PortNotUp = "PortNotUp"

// awaitUp returns an intent.Wait if one of the unit's ports must have been up once and has not.
func (f *Fabric) awaitUp(u intent.Unit, w intent.Want, observed intent.Observed) error {
	for _, p := range w.Ports {
		if b, exists := observed.Ports[p.Name]; exists && p.MustBeUp && p.Parent != "" && !observed.Up[p.Name] {
			f.pending.Await(b.ID, u, p.Parent)
			return intent.Wait{Reason: PortNotUp, For: "port " + p.Name + " to come up"}
		}
	}
	return nil
}

func (f *Fabric) isUp(o plan.Object) bool { return f.pending.IsUp(o.ID, o.Text("status") == "ACTIVE") }

// Rose must be called when OVN reports that a port is up.
func (f *Fabric) Rose(port string) { f.pending.Up(port) }

// pendingPorts gives trunk.Pending access to Neutron's ports and to the units that wait
// for them.
type pendingPorts struct{ f *Fabric }

// Active implements trunk.Ports.
func (p pendingPorts) Active(ctx context.Context, ids []string) (map[string]bool, error) {
	a, err := p.f.api(ctx)
	if err != nil {
		return nil, err
	}
	found, err := a.List(ctx, plan.KindPort, url.Values{"id": ids})
	active := map[string]bool{}
	for _, w := range found {
		active[w.ID] = w.Status == "ACTIVE"
	}
	return active, err
}

// CameUp implements trunk.Ports.
func (p pendingPorts) CameUp(units []intent.Unit) { p.f.wake(units) }

// Reattach implements trunk.Ports. Neutron has lost the event that the port is up, so the
// port is detached and attached again. A port of the pool is replaced.
func (p pendingPorts) Reattach(ctx context.Context, port trunk.PendingPort) {
	f := p.f
	if port.Unit == "" {
		f.PortPool.Discard(port.ID)
		f.pending.ForgetPooled(port.ID)
		return
	}
	a, err := f.api(ctx)
	if err != nil {
		return // the next check tries again
	}
	e := f.enter(port.Unit)
	defer f.leave(port.Unit, e)
	i := e.index(plan.Object{Kind: plan.KindPort, ID: port.ID})
	if i < 0 || !e.sure || e.objects[i].Fields["parent"] != port.Parent {
		return
	}
	o := plan.Object{Kind: plan.KindPort, Name: e.objects[i].Name, ID: port.ID}
	off := o
	off.Fields = plan.Fields{"parent": port.Parent}
	if err := f.run(ctx, a, e, []plan.Step{{Verb: plan.Detach, Object: off}, plan.AttachStep(o, port.Parent, e.objects[i].Fields["vlan"])}); err != nil {
		f.Log.Warn("attaching a subport again failed", "unit", port.Unit, "port", port.ID, "err", err)
		f.wake([]intent.Unit{port.Unit})
	}
}
