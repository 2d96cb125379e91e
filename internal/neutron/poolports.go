package neutron

import (
	"context"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// poolPorts creates and deletes the pools' ports in Neutron. Its calls count as
// background calls, because no pod waits for them.
type poolPorts struct{ f *Fabric }

// CreatePorts implements portpool.Neutron. It attaches subports to their trunk in one
// call, so that they are up before a pod gets them.
func (p poolPorts) CreatePorts(ctx context.Context, k portpool.Key, n int) ([]portpool.Port, error) {
	ctx = openstack.Background(ctx)
	a, err := p.f.api(ctx)
	if err != nil {
		return nil, err
	}
	m, e := plan.Owner{Name: p.f.Owner, Unit: poolUnit(k.Node)}, &entry{}
	like := poolPort(k, m, a.Extensions[client.ExtPortSecurity])
	var steps []plan.Step
	for range n {
		s := plan.Step{Verb: plan.Create, Object: plan.Object{Kind: plan.KindPort, Name: plan.PooledName, Fields: like}}
		if a.TagsOnCreate()[plan.KindPort] {
			s.Tags = m.TagsOf(like)
		}
		steps = append(steps, s)
	}
	if err = p.f.run(ctx, a, e, steps); err == nil && k.Parent != "" {
		err = p.attach(ctx, a, e, k, m.TagsOf(like))
	}
	return p.created(k, e.objects), err
}

// poolPort returns the fields of a pool's ports. If Neutron takes no tags on creation,
// the ports have none, and only the description names the owner.
func poolPort(k portpool.Key, m plan.Owner, portSecurity bool) plan.Fields {
	var ips plan.FixedIPs
	for _, id := range splitIDs(k.Subnets) {
		ips = append(ips, plan.FixedIP{Subnet: id})
	}
	f := plan.Fields{
		"name": plan.PooledName, "description": m.Description(), "device_id": "", "device_owner": plan.DeviceOwner, "admin_state_up": true,
		"project_id": k.Project, "network_id": k.Network, "fixed_ips": ips, "security_groups": plan.Set(splitIDs(k.Groups)),
	}
	if portSecurity {
		f["port_security_enabled"] = true
	}
	if k.Parent != "" {
		f["parent"], f["node"] = k.Parent, k.Node
	} else {
		f["binding:host_id"] = k.Node
	}
	return f
}

// attach attaches new ports to a trunk. It tags them first: after they are detached
// again, only the tags name the owner.
func (p poolPorts) attach(ctx context.Context, a *client.Client, e *entry, k portpool.Key, tags []string) error {
	var tagging, attachments []plan.Step
	for _, o := range e.objects {
		if len(o.Tags) == 0 {
			tagging = append(tagging, plan.Step{Verb: plan.Tag, Object: plan.Object{Kind: plan.KindPort, Name: o.Name, ID: o.ID, Tags: tags}})
		}
		attachments = append(attachments, plan.AttachStep(plan.Object{Kind: plan.KindPort, Name: o.Name, ID: o.ID}, k.Parent, nil))
	}
	err := p.f.run(ctx, a, e, append(tagging, attachments...))
	if err != nil && !openstack.IsOutcome(err) {
		e.objects = nil // FindPorts finds which of them are attached
	}
	return err
}

// created returns the pool's records of new ports, and has subports watched until they are up.
func (p poolPorts) created(k portpool.Key, objects []plan.Object) []portpool.Port {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if k.Parent != "" {
		p.f.nodes[k.Parent] = k.Node
	}
	for _, o := range objects {
		if parent := o.Text("parent"); parent != "" {
			p.f.pending.AwaitPooled(o.ID, parent)
		}
	}
	return p.f.portsOf(objects)
}

// CleanPort implements portpool.Neutron.
func (p poolPorts) CleanPort(ctx context.Context, port portpool.Port) (portpool.Port, error) {
	ctx = openstack.Background(ctx)
	a, err := p.f.api(ctx)
	if err != nil {
		return port, err
	}
	o, m := port.Record.(plan.Object), plan.Owner{Name: p.f.Owner, Unit: poolUnit(port.Key.Node)}
	e := &entry{objects: []plan.Object{o}}
	err = p.f.run(ctx, a, e, []plan.Step{
		{Verb: plan.Update, Object: plan.Object{Kind: plan.KindPort, Name: o.Name, ID: o.ID, Fields: plan.Fields{
			"name": plan.PooledName, "device_id": "", "description": m.Description(),
		}}},
		{Verb: plan.Tag, Object: plan.Object{Kind: plan.KindPort, Name: o.Name, ID: o.ID, Tags: openstack.ReplaceTags(o.Tags, m.TagsOf(o.Fields))}},
	})
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	return p.f.portOf(e.objects[0]), err
}

// DeletePorts implements portpool.Neutron.
func (p poolPorts) DeletePorts(ctx context.Context, ports []portpool.Port) ([]portpool.Port, error) {
	ctx = openstack.Background(ctx)
	a, err := p.f.api(ctx)
	if err != nil {
		return ports, err
	}
	e := &entry{}
	for _, port := range ports {
		e.objects = append(e.objects, port.Record.(plan.Object))
	}
	err = p.f.run(ctx, a, e, plan.Diff(slices.Clone(e.objects), nil, nil))
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	return p.f.portsOf(e.objects), err
}

// FindPorts implements portpool.Neutron. It wakes the units that the read shows to have
// changed; the next Refresh returns them again.
func (p poolPorts) FindPorts(ctx context.Context) error {
	changed, err := p.f.Refresh(ctx, nil)
	p.f.mu.Lock()
	p.f.changedUnits = append(p.f.changedUnits, changed...)
	p.f.mu.Unlock()
	p.f.wake(slices.Clone(changed))
	return err
}

// portsOf returns the pool's records of ports. f.mu is held.
func (f *Fabric) portsOf(objects []plan.Object) []portpool.Port {
	var out []portpool.Port
	for _, o := range objects {
		out = append(out, f.portOf(o))
	}
	return out
}

// GroupName returns the name of one of our security groups, by its id. It returns false
// if the group is not ours.
func (f *Fabric) GroupName(id string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := f.groups.nameOf(id)
	return name, name != id
}

var _ portpool.Neutron = poolPorts{}
