package neutron

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// createForeignObject creates an object as another client would, and returns a function
// that deletes it.
func createForeignObject(t *testing.T, f *Fabric, k plan.Kind, fs plan.Fields) (id string, undo func()) {
	t.Helper()
	a := f.session.Load()
	made, err := a.Create(t.Context(), []plan.Step{{Verb: plan.Create, Object: plan.Object{Kind: k, Fields: fs}}})
	if err != nil {
		t.Fatal(err)
	}
	return made[0].ID, func() {
		ctx, cancel := withoutEnd(t)
		defer cancel()
		if err := a.Delete(ctx, plan.Step{Verb: plan.Delete, Object: plan.Object{Kind: k, ID: made[0].ID}}); err != nil {
			t.Error(err)
		}
	}
}

// contractTrunk checks our subports on a foreign parent port, beside foreign subports.
func contractTrunk(t *testing.T, f *Fabric) {
	t.Helper()
	network, removeNetwork := createForeignObject(t, f, plan.KindNetwork, plan.Fields{"name": "machines"})
	defer removeNetwork()
	parent, removeParent := createForeignObject(t, f, plan.KindPort, plan.Fields{"name": "vm1", "network_id": network})
	defer removeParent()
	other, removeOther := createForeignObject(t, f, plan.KindPort, plan.Fields{"name": "other", "network_id": network})
	defer removeOther()
	trunkID, removeTrunk := createForeignObject(t, f, plan.KindTrunk, plan.Fields{"name": "vm1", "port_id": parent})
	b := apply(t, f, "pod/ns/n1", stopped("ns/n1", parent)).Ports["ns/n1"]
	if again := apply(t, f, "pod/ns/n1", stopped("ns/n1", parent)); b.Tag == 0 || again.Changed != 0 || again.Ports["ns/n1"].Tag != b.Tag {
		t.Errorf("%+v, and again %+v", b, again)
	}
	contractSubports(t, f, parent, trunkID, other)
	removeTrunk()
	changed, err := f.Refresh(t.Context(), nil)
	if diff := cmp.Diff([]intent.Unit{"pod/ns/n1", "pod/ns/n3"}, changed); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := f.Apply(t.Context(), "pod/ns/n1", stopped("ns/n1", parent)); reason(err) != trunk.NoTrunk {
		t.Errorf("%v", err)
	}
	_, removeTrunk = createForeignObject(t, f, plan.KindTrunk, plan.Fields{"name": "vm1", "port_id": parent})
	defer removeTrunk()
	if again := apply(t, f, "pod/ns/n1", stopped("ns/n1", parent)).Ports["ns/n1"]; again.ID != b.ID || again.Tag == 0 {
		t.Errorf("the pod had %+v, and has %+v", b, again)
	}
	f.PortPool.Drain(func(k portpool.Key) bool { return k.Parent != "" })
	apply(t, f, "pod/ns/n1", intent.Want{})
	apply(t, f, "pod/ns/n3", intent.Want{})
	eventually(t, time.Minute, "nothing is behind it", func() bool {
		found, err := f.session.Load().List(t.Context(), plan.KindTrunk, url.Values{"port_id": {parent}})
		return err == nil && len(found) == 1 && len(found[0].Subports) == 0
	})
}

// stopped is a pod on a virtual machine that does not run.
func stopped(name, parent string) intent.Want {
	w := nestedWant(name, parent)
	w.Ports[0].MustBeUp = false
	return w
}

// contractSubports checks the pool, and a foreign subport that takes the next VLAN id.
func contractSubports(t *testing.T, f *Fabric, parent, trunkID, other string) {
	t.Helper()
	idle := func() bool {
		i := slices.IndexFunc(f.PortPool.Pools(), func(p portpool.Status) bool { return p.Parent == parent })
		return i >= 0 && f.PortPool.Pools()[i].Ready >= 2 && f.PortPool.Pools()[i].Making+f.PortPool.Pools()[i].Returning == 0
	}
	eventually(t, time.Minute, "the pool is full", idle)
	static := stopped("ns/n3", parent)
	static.Ports[0].MAC = "02:00:00:00:00:79"
	theirs := apply(t, f, "pod/ns/n3", static).Ports["ns/n3"].Tag + 1 // the id that is tried next
	if err := f.session.Load().AddSubports(t.Context(), trunkID, []trunk.Subport{{Port: other, VLAN: theirs}}); err != nil {
		t.Fatal(err)
	}
	if seen := apply(t, f, "pod/ns/n2", stopped("ns/n2", parent)); seen.Changed != 0 || seen.Ports["ns/n2"].Tag == 0 {
		t.Errorf("from the pool: %+v", seen)
	}
	static = stopped("ns/n4", parent)
	static.Ports[0].MAC = "02:00:00:00:00:7a"
	if tag := apply(t, f, "pod/ns/n4", static).Ports["ns/n4"].Tag; tag == theirs || tag == 0 {
		t.Errorf("VLAN id %d is somebody else's", tag)
	}
	apply(t, f, "pod/ns/n4", intent.Want{})
	eventually(t, time.Minute, "the port has its name", func() bool { return slices.Contains(content(t, f), "pod/ns/n2: port ns/n2") })
	apply(t, f, "pod/ns/n2", intent.Want{})
	eventually(t, time.Minute, "the port is back", idle)
	if changed, err := f.Refresh(t.Context(), nil); err != nil || len(changed) > 0 {
		t.Errorf("nobody has changed anything of ours, but %v (%v)", changed, err)
	}
}
