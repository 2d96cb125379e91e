package neutron

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// There are two clusters in one project, and a foreign network with virtual machines and
// our pods. No foreign object is changed.
func TestForeignObjects(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	c.Page(2)
	one := start(t, c, &portpool.Limits{Min: 1})
	two := startAs(t, Options{Owner: "c2", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile})
	theirs := createForeign(t, one)
	before := c.Snapshot()
	existing := intent.Want{Networks: []intent.Network{{Name: "vms", Existing: theirs, Prefixes: prefixes("192.168.1.0/24")}}}
	for _, f := range []*Fabric{one, two} {
		if _, err := f.Refresh(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		apply(t, f, "subnet/net2", subnetWant("")) // the same name in both clusters
		apply(t, f, "subnet/vms", existing)
		apply(t, f, "pod/ns/a", podWant("ns/a", "node1"))
		w := podWant("ns/b", "node1")
		w.Ports[0].Network = "vms"
		b := apply(t, f, "pod/ns/b", w).Ports["ns/b"]
		if len(b.Addrs) != 1 || !netip.MustParsePrefix("192.168.1.0/24").Contains(b.Addrs[0].Addr()) || b.Gateways[0].String() != "192.168.1.1" {
			t.Errorf("a pod beside machines: %+v", b)
		}
	}
	want := []string{"pod/ns/a: port ns/a", "pod/ns/b: port ns/b", "subnet/net2: network net2", "subnet/net2: subnet net2-IPv4", "subnet/net2: subnet net2-IPv6"}
	if _, err := one.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, content(t, two)); diff != "" {
		t.Error("the other cluster:", diff)
	}
	if _, err := two.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, c.Snapshot()); diff != "" {
		t.Error(diff)
	}
}

// createForeign creates foreign objects: a network with a virtual machine, a port that
// looks like one of the pool, and objects with our names.
func createForeign(t *testing.T, f *Fabric) string {
	t.Helper()
	a, err := f.api(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made := func(k plan.Kind, fs plan.Fields) string {
		w, err := a.Create(t.Context(), []plan.Step{{Verb: plan.Create, Object: plan.Object{Kind: k, Name: "theirs", Fields: fs}}})
		if err != nil {
			t.Fatal(err)
		}
		return w[0].ID
	}
	n := made(plan.KindNetwork, plan.Fields{"name": "net2"})
	made(plan.KindSubnet, plan.Fields{"network_id": n, "cidr": "192.168.1.0/24", "ip_version": 4, "name": "net2-IPv4"})
	made(plan.KindSubnet, plan.Fields{"network_id": n, "cidr": "192.168.2.0/24", "ip_version": 4, "name": "more"})
	made(plan.KindPort, plan.Fields{"network_id": n, "name": "machine", "device_owner": "compute:nova", "device_id": "vm"})
	made(plan.KindPort, plan.Fields{"network_id": n, "name": "ns/a", "device_owner": plan.DeviceOwner, "device_id": "uid-of-ns/a"})
	made(plan.KindPort, plan.Fields{"network_id": n, "name": plan.PooledName, "device_owner": plan.DeviceOwner, "binding:host_id": "node1"})
	return n
}

// The pool adopts a port that another client created with our tag.
func TestPoolAdopts(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	c.Extend(client.ExtPortTags)
	f := startPool(t, c, portpool.Limits{Min: 1, Batch: 1})
	s, _ := f.Network("net2")
	a := f.session.Load()
	w, err := a.Create(t.Context(), []plan.Step{{Verb: plan.Create, Object: plan.Object{
		Kind: plan.KindPort, Name: "theirs", Tags: []string{openstack.TagOwner + "c1"},
		Fields: plan.Fields{"network_id": s.ID, "name": "available", "device_owner": plan.DeviceOwner, "binding:host_id": "node1"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	awaitFull(t, f, 2)
	var ids []string
	for _, name := range []string{"ns/a", "ns/b"} {
		ids = append(ids, apply(t, f, intent.Unit("pod/"+name), podWant(name, "node1")).Ports[name].ID)
	}
	if !slices.Contains(ids, w[0].ID) {
		t.Errorf("pods have %v, and none %s", ids, w[0].ID)
	}
}
