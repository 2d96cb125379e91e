package neutron

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
)

// nestedWant is a pod on worker1, which is a virtual machine.
func nestedWant(name, parent string) intent.Want {
	w := podWant(name, "worker1")
	w.Ports[0].Parent, w.Ports[0].MustBeUp = parent, true
	return w
}

// startNested starts a Fabric without a pool, and creates a virtual machine with a trunk.
func startNested(t *testing.T) (c *neutrontest.Cloud, f *Fabric, parent, trunkID string) {
	t.Helper()
	c = neutrontest.New(t)
	parent, trunkID = c.Trunk("vm1")
	f = start(t, c, nil)
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, f, "subnet/net2", subnetWant(""))
	return c, f, parent, trunkID
}

// applyUntilDone applies u until nothing is left to wait for.
func applyUntilDone(t *testing.T, f *Fabric, u intent.Unit, w intent.Want) intent.Observed {
	t.Helper()
	var seen intent.Observed
	eventually(t, time.Minute, string(u)+" is there", func() bool {
		var err error
		if seen, err = f.Apply(t.Context(), u, w); err != nil && reason(err) != PortNotUp {
			t.Fatal(err)
		}
		return err == nil
	})
	return seen
}

func TestSubportOfPod(t *testing.T) {
	t.Parallel()
	c, f, parent, _ := startNested(t)
	w := nestedWant("ns/a", parent)
	b := applyUntilDone(t, f, "pod/ns/a", w).Ports["ns/a"]
	if b.Tag == 0 || len(b.Addrs) != 2 {
		t.Errorf("%+v", b)
	}
	if diff := cmp.Diff(map[string]int{b.ID: b.Tag}, c.Behind(parent)); diff != "" {
		t.Error(diff)
	}
	p := c.Thing("ports", b.ID)
	if p["binding:host_id"] != "" || p["device_id"] != "" || p["name"] != "ns/a" {
		t.Errorf("%v", p)
	}
	c.Fail(nil)
	w.Ports[0].Tag, w.Ports[0].MustBeUp = b.Tag, false
	if again := apply(t, f, "pod/ns/a", w); again.Changed != 0 || again.Ports["ns/a"].Tag != b.Tag || len(c.Calls()) > 0 {
		t.Errorf("the same again: %+v, %v", again, c.Calls())
	}
	if changed, err := f.Refresh(t.Context(), nil); len(changed) > 0 || err != nil {
		t.Errorf("nobody changed anything, but %v (%v)", changed, err)
	}
	apply(t, f, "pod/ns/a", intent.Want{})
	if left := c.Names("ports"); len(c.Behind(parent)) > 0 || len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestSubportOfOtherGroup(t *testing.T) {
	t.Parallel()
	_, f, parent, _ := startNested(t)
	apply(t, f, "policy/ns/web", policyWant())
	w := nestedWant("ns/a", parent)
	b := applyUntilDone(t, f, "pod/ns/a", w).Ports["ns/a"]
	w.Ports[0].Groups = []string{"np.web"}
	if seen := apply(t, f, "pod/ns/a", w); seen.Changed != 1 || seen.Ports["ns/a"].Tag != b.Tag || seen.Ports["ns/a"].ID != b.ID {
		t.Errorf("%+v, and then %+v", b, seen)
	}
}

// The VLAN ids of foreign subports are not used, whether they are known or new.
func TestForeignVLANs(t *testing.T) {
	t.Parallel()
	c, f, parent, trunkID := startNested(t)
	c.AddSubport(trunkID, "theirs", 7)
	w := nestedWant("ns/a", parent)
	w.Ports[0].Tag = 7
	first := applyUntilDone(t, f, "pod/ns/a", w).Ports["ns/a"].Tag
	if first == 7 {
		t.Error("two ports have VLAN id 7")
	}
	c.AddSubport(trunkID, "theirs, too", first+1)
	if second := applyUntilDone(t, f, "pod/ns/b", nestedWant("ns/b", parent)).Ports["ns/b"].Tag; second <= first+1 {
		t.Errorf("%d is somebody else's", second)
	}
	w = nestedWant("ns/c", parent)
	w.Ports[0].Tag = 99
	if tag := applyUntilDone(t, f, "pod/ns/c", w).Ports["ns/c"].Tag; tag != 99 {
		t.Errorf("the pod had VLAN id 99, which is free, and has %d", tag)
	}
}

func TestNoVLANLeft(t *testing.T) {
	t.Parallel()
	c, f, parent, trunkID := startNested(t)
	for vlan := trunk.FirstVLAN; vlan < trunk.LastVLAN; vlan++ {
		c.AddSubport(trunkID, fmt.Sprint("theirs", vlan), vlan)
	}
	if tag := applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", parent)).Ports["ns/a"].Tag; tag != trunk.LastVLAN {
		t.Errorf("only %d is free, not %d", trunk.LastVLAN, tag)
	}
	for range 2 {
		if _, err := f.Apply(t.Context(), "pod/ns/b", nestedWant("ns/b", parent)); reason(err) != "NoVLAN" {
			t.Errorf("%v", err)
		}
	}
	apply(t, f, "pod/ns/a", intent.Want{})
	applyUntilDone(t, f, "pod/ns/b", nestedWant("ns/b", parent))
}

func TestNoTrunk(t *testing.T) {
	t.Parallel()
	c, f, parent, trunkID := startNested(t)
	w := nestedWant("ns/a", parent)
	b := applyUntilDone(t, f, "pod/ns/a", w).Ports["ns/a"]
	c.Remove("trunks", trunkID)
	changed, err := f.Refresh(t.Context(), nil)
	if diff := cmp.Diff([]intent.Unit{"pod/ns/a"}, changed); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for range 2 {
		if _, err := f.Apply(t.Context(), "pod/ns/a", w); reason(err) != trunk.NoTrunk || !strings.Contains(err.Error(), parent) {
			t.Errorf("%v", err)
		}
	}
	c.Add("trunks", map[string]any{"name": "another", "port_id": parent})
	w.Ports[0].Tag = b.Tag
	if again := applyUntilDone(t, f, "pod/ns/a", w).Ports["ns/a"]; again.ID != b.ID || again.Tag != b.Tag {
		t.Errorf("the pod had %+v, and has %+v", b, again)
	}
	if len(c.Behind(parent)) != 1 {
		t.Errorf("%v", c.Behind(parent))
	}
}

// The deletion of a trunk is noticed by the call that needs the trunk.
func TestTrunkDeletedUnnoticed(t *testing.T) {
	t.Parallel()
	c, f, parent, trunkID := startNested(t)
	applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", parent))
	c.Remove("trunks", trunkID)
	if _, err := f.Apply(t.Context(), "pod/ns/b", nestedWant("ns/b", parent)); reason(err) != trunk.NoTrunk {
		t.Errorf("%v", err)
	}
	apply(t, f, "pod/ns/a", intent.Want{})
	apply(t, f, "pod/ns/b", intent.Want{})
	if left := c.Names("ports"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestWithoutTrunks(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	c.Lack(client.ExtTrunk)
	f := start(t, c, nil)
	apply(t, f, "subnet/net2", subnetWant(""))
	if _, err := f.Apply(t.Context(), "pod/ns/a", nestedWant("ns/a", "vm")); reason(err) != "NotSupported" {
		t.Errorf("%v", err)
	}
}

// A pod of a StatefulSet comes back on another node with its old address.
func TestPodMovesToAnotherParent(t *testing.T) {
	t.Parallel()
	c, f, parent, _ := startNested(t)
	other, _ := c.Trunk("vm2")
	b := applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", parent)).Ports["ns/a"]
	moved := applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", other)).Ports["ns/a"]
	if moved.ID != b.ID || len(c.Behind(parent)) > 0 || c.Behind(other)[b.ID] != moved.Tag {
		t.Errorf("%+v moved to %+v: %v, %v", b, moved, c.Behind(parent), c.Behind(other))
	}
	bare := applyUntilDone(t, f, "pod/ns/a", podWant("ns/a", "node1")).Ports["ns/a"]
	if bare.ID == b.ID || bare.Tag != 0 || len(c.Behind(other)) > 0 {
		t.Errorf("%+v is on bare metal as %+v: %v", b, bare, c.Behind(other))
	}
	applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", other))
	if names := c.Names("ports"); len(names) != 3 {
		t.Errorf("%v", names)
	}
}

// Pods that wait for one node's trunk do not block calls for other nodes.
func TestBusyTrunkBlocksNoOther(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	c.Extend(client.ExtPortTags)
	parent, _ := c.Trunk("vm1")
	f := start(t, c, nil)
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, f, "subnet/net2", subnetWant(""))
	_, on := holdAnswer(c, http.MethodPut)
	var all sync.WaitGroup
	for i := range 2 * maxPortCalls {
		name := fmt.Sprintf("ns/p%d", i)
		all.Go(func() { _, _ = f.Apply(t.Context(), intent.Unit("pod/"+name), nestedWant(name, parent)) })
	}
	eventually(t, time.Minute, "all are made", func() bool { return len(c.Names("ports")) == 1+2*maxPortCalls })
	ctx, cancel := timeout(t, 10*time.Second)
	defer cancel()
	if _, err := f.Apply(ctx, "pod/ns/other", podWant("ns/other", "node1")); err != nil {
		t.Error(err)
	}
	close(on)
	all.Wait()
}
