package neutron

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// nestedPool starts a Fabric and fills its pool for worker1.
func nestedPool(t *testing.T, c *neutrontest.Cloud, parent string, l portpool.Limits) *Fabric {
	t.Helper()
	f := start(t, c, &l)
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, f, "subnet/net2", subnetWant(""))
	applyUntilDone(t, f, "pod/ns/first", nestedWant("ns/first", parent))
	awaitFull(t, f, l.Min)
	return f
}

// A port from the pool costs no call: it is already attached and up.
func TestSubportsAreReady(t *testing.T) {
	t.Parallel()
	for _, birthTags := range []bool{false, true} {
		c := neutrontest.New(t)
		if birthTags {
			c.Extend(client.ExtPortTags)
		}
		parent, _ := c.Trunk("vm1")
		f := nestedPool(t, c, parent, portpool.Limits{Min: 3, Batch: 3, Max: 3})
		if got := f.PortPool.Pools()[0]; got.Node != "worker1" || got.Parent != parent {
			t.Errorf("%+v", got)
		}
		eventually(t, time.Minute, "all are up", func() bool { return f.pending.Count() == 0 })
		c.Fail(func(int, *http.Request) *neutrontest.Fault { return &neutrontest.Fault{Slow: time.Hour, Code: 503} })
		for i := range 3 {
			name := fmt.Sprintf("ns/p%d", i)
			b := apply(t, f, intent.Unit("pod/"+name), nestedWant(name, parent)).Ports[name]
			if vlan := c.Behind(parent)[b.ID]; vlan == 0 || vlan != b.Tag {
				t.Errorf("%+v has VLAN id %d", b, vlan)
			}
		}
		f.Close()
		f.idle()
	}
}

func TestSubportsComeBack(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	parent, _ := c.Trunk("vm1")
	c.Fail(nil)
	f := nestedPool(t, c, parent, portpool.Limits{Min: 3, Batch: 3, Max: 6})
	adds := slices.DeleteFunc(c.Calls(), func(s string) bool { return !strings.HasSuffix(s, "/add_subports") })
	if len(adds) != 2 { // one for the first pod's port, one for the pool
		t.Errorf("%v", adds)
	}
	b := applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", parent)).Ports["ns/a"]
	eventually(t, time.Minute, "it has its name", func() bool { return c.Thing("ports", b.ID)["name"] == "ns/a" })
	awaitFull(t, f, 5)
	apply(t, f, "pod/ns/a", intent.Want{})
	awaitFull(t, f, 6)
	if p := c.Thing("ports", b.ID); p["name"] != plan.PooledName || c.Behind(parent)[b.ID] != b.Tag {
		t.Errorf("%v, %v", p, c.Behind(parent))
	}
	applyUntilDone(t, f, "pod/ns/b", nestedWant("ns/b", parent))
	awaitFull(t, f, 5)
	apply(t, f, "pod/ns/first", intent.Want{}) // the pool has no room for both ports
	apply(t, f, "pod/ns/b", intent.Want{})
	awaitFull(t, f, 6)
	if changed, err := f.Refresh(t.Context(), nil); len(changed) > 0 || err != nil {
		t.Errorf("changed: %v (%v)", changed, err)
	}
	if got := len(c.Behind(parent)); got != 6 {
		t.Errorf("%d ports", got)
	}
	c.Fail(nil)
	if n, err := f.PortPool.Free(t.Context(), func(k portpool.Key) bool { return k.Node == "worker1" }); n != 6 || err != nil {
		t.Errorf("%d (%v)", n, err)
	}
	removes := slices.DeleteFunc(c.Calls(), func(s string) bool { return !strings.HasSuffix(s, "/remove_subports") })
	if left := c.Names("ports"); len(left) != 1 || len(removes) != 1 {
		t.Errorf("left: %v, after %v", left, removes)
	}
}

// After a crash the pool has its ports again, and knows their node.
func TestSubportsAfterACrash(t *testing.T) {
	t.Parallel()
	for _, claimed := range []bool{true, false} {
		c := neutrontest.New(t)
		parent, _ := c.Trunk("vm1")
		f := nestedPool(t, c, parent, portpool.Limits{Min: 2, Batch: 2})
		eventually(t, time.Minute, "all are up", func() bool { return f.pending.Count() == 0 })
		c.Fail(func(int, *http.Request) *neutrontest.Fault { return &neutrontest.Fault{Code: 503} })
		b := apply(t, f, "pod/ns/a", nestedWant("ns/a", parent)).Ports["ns/a"]
		f.Close()
		f.idle()
		c.Fail(nil)

		again := start(t, c, &portpool.Limits{Min: 2, Batch: 2})
		held := map[string]intent.Unit{}
		if claimed {
			held[b.ID] = "pod/ns/a"
		}
		if _, err := again.Refresh(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		apply(t, again, "subnet/net2", subnetWant(""))
		if now := applyUntilDone(t, again, "pod/ns/a", nestedWant("ns/a", parent)).Ports["ns/a"]; claimed && (now.ID != b.ID || now.Tag != b.Tag) {
			t.Errorf("the pod had %+v and has %+v", b, now)
		}
		applyUntilDone(t, again, "pod/ns/first", nestedWant("ns/first", parent))
		awaitFull(t, again, 2)
		for _, p := range again.PortPool.Pools() {
			if p.Node != "worker1" || p.Parent != parent {
				t.Errorf("%+v", p)
			}
		}
		again.Close()
		again.idle()
	}
}

// Ports of the pool that were detached from their trunk are not used.
func TestPoolPortsDetached(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	parent, trunkID := c.Trunk("vm1")
	f := nestedPool(t, c, parent, portpool.Limits{Min: 3, Batch: 3})
	c.Remove("trunks", trunkID)
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the pool's ports are gone", func() bool { return len(c.Names("ports")) == 2 })
	if _, err := f.Apply(t.Context(), "pod/ns/a", nestedWant("ns/a", parent)); reason(err) != trunk.NoTrunk {
		t.Errorf("%v", err)
	}
	c.Add("trunks", map[string]any{"name": "another", "port_id": parent})
	applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", parent))
	applyUntilDone(t, f, "pod/ns/first", nestedWant("ns/first", parent))
	f.PortPool.Drain(func(portpool.Key) bool { return true })
}

// Each call of the pool fails once, executed or not. In the end the pool is full and
// nothing is left over.
func TestSubportPoolFailsAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for n, more := 1, true; more; n++ {
			c := neutrontest.New(t)
			parent, _ := c.Trunk("vm1")
			f := startAs(t, Options{
				Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Pool: &portpool.Limits{Min: 3, Batch: 3}, Pause: time.Millisecond,
			})
			if _, err := f.Refresh(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			apply(t, f, "subnet/net2", subnetWant(""))
			happened := false
			c.Fail(func(call int, _ *http.Request) *neutrontest.Fault {
				if call == n {
					happened = true
					return &neutrontest.Fault{After: after}
				}
				return nil
			})
			eventually(t, time.Minute, "the pod is there", func() bool {
				_, err := f.Apply(t.Context(), "pod/ns/first", nestedWant("ns/first", parent))
				return err == nil
			})
			awaitFull(t, f, 3)
			f.Close()
			f.idle()
			c.Fail(nil)
			more = happened
			again := start(t, c, &portpool.Limits{Min: 3, Batch: 3})
			if _, err := again.Refresh(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, time.Minute, "nothing is left over", func() bool {
				all := c.Names("ports")
				one := len(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s != "ns/first" })) == 1
				return one && len(all) >= 5 && len(all) == len(c.Behind(parent))+1
			})
			again.Close()
			again.idle()
		}
	}
}
