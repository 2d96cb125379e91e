package neutron

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// startPool starts a Fabric and fills its pool for node1.
func startPool(t *testing.T, c *neutrontest.Cloud, l portpool.Limits) *Fabric {
	t.Helper()
	return startPoolAs(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Pool: &l})
}

func startPoolAs(t *testing.T, o Options) *Fabric {
	t.Helper()
	f := startAs(t, o)
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, f, "subnet/net2", subnetWant(""))
	apply(t, f, "pod/ns/first", podWant("ns/first", "node1"))
	awaitFull(t, f, o.Pool.Min)
	return f
}

func awaitFull(t *testing.T, f *Fabric, n int) {
	t.Helper()
	eventually(t, time.Minute, "the pool is full", func() bool {
		ready, busy := 0, 0
		for _, p := range f.PortPool.Pools() {
			ready, busy = ready+p.Ready, busy+p.Making+p.Returning
		}
		return ready >= n && busy == 0
	})
}

// A port from the pool costs the pod no call. The name is written soon after, and the
// pool is filled again.
func TestPoolHandsOut(t *testing.T) {
	t.Parallel()
	for _, birthTags := range []bool{false, true} {
		c := neutrontest.New(t)
		if birthTags {
			c.Extend(client.ExtPortTags)
		}
		f := startPool(t, c, portpool.Limits{Min: 3, Batch: 3})
		c.Fail(func(int, *http.Request) *neutrontest.Fault { return &neutrontest.Fault{Slow: time.Hour, Code: 503} })
		ids := map[string]bool{}
		for i := range 3 {
			name := fmt.Sprintf("ns/p%d", i)
			observed := apply(t, f, intent.Unit("pod/"+name), podWant(name, "node1"))
			ids[observed.Ports[name].ID] = true
		}
		if len(ids) != 3 {
			t.Errorf("three pods have %d ports", len(ids))
		}
		f.Close() // while names are still to be written
		f.idle()
		c.Fail(nil)
		if named := c.Names("ports"); slices.Contains(named, "ns/p0") {
			t.Errorf("a port was named though Neutron hung: %v", named)
		}
	}
}

func TestPoolNamesAndRefills(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := startPool(t, c, portpool.Limits{Min: 3, Batch: 3})
	observed := apply(t, f, "pod/ns/a", podWant("ns/a", "node1"))
	if observed.Changed != 0 || observed.Ports["ns/a"].ID == "" || len(observed.Ports["ns/a"].Addrs) != 2 {
		t.Errorf("from the pool: %+v", observed)
	}
	awaitFull(t, f, 3)
	want := []string{"pod/ns/a: port ns/a", "pod/ns/first: port ns/first"}
	eventually(t, time.Minute, "it has its name", func() bool {
		return cmp.Equal(want, slices.DeleteFunc(content(t, f), func(s string) bool { return !strings.HasPrefix(s, "pod/") }))
	})
	apply(t, f, "pod/ns/a", intent.Want{})
	awaitFull(t, f, 4)
	if changed, err := f.Refresh(t.Context(), nil); len(changed) > 0 || err != nil {
		t.Errorf("changed: %v (%v)", changed, err)
	}
	f.PortPool.Drain(func(k portpool.Key) bool { return k.Node == "node1" })
	eventually(t, time.Minute, "a node's pool goes with it", func() bool { return len(c.Names("ports")) == 1 })
}

// The controller dies after a port has been handed out and before its name is written. If
// the pod's claim has the port, the pod keeps it; if not, the pool has it back.
func TestPoolAfterACrash(t *testing.T) {
	t.Parallel()
	for _, claimed := range []bool{true, false} {
		c := neutrontest.New(t)
		f := startPool(t, c, portpool.Limits{Min: 2, Batch: 2})
		c.Fail(func(int, *http.Request) *neutrontest.Fault { return &neutrontest.Fault{Code: 503} })
		id := apply(t, f, "pod/ns/a", podWant("ns/a", "node1")).Ports["ns/a"].ID
		f.Close()
		f.idle()
		c.Fail(nil)

		again := start(t, c, &portpool.Limits{Min: 2, Batch: 2})
		held := map[string]intent.Unit{}
		if claimed {
			held[id] = "pod/ns/a"
		}
		if _, err := again.Refresh(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		apply(t, again, "subnet/net2", subnetWant(""))
		if b := apply(t, again, "pod/ns/a", podWant("ns/a", "node1")).Ports["ns/a"]; claimed && b.ID != id {
			t.Errorf("the pod had %s and has %+v", id, b)
		}
		awaitFull(t, again, 2)
		eventually(t, time.Minute, "it has its name", func() bool {
			return cmp.Equal([]string{"ns/a", "ns/first"}, pods(c))
		})
	}
}

// Each call fails once, while a pool is filled and used and gets ports back.
func TestPoolFailures(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 14; n++ {
		for _, after := range []bool{false, true} {
			c := neutrontest.New(t)
			f := startPool(t, c, portpool.Limits{Min: 2, Batch: 2})
			c.Fail(func(call int, _ *http.Request) *neutrontest.Fault {
				if call == n {
					return &neutrontest.Fault{After: after}
				}
				return nil
			})
			apply := func(u intent.Unit, w intent.Want) {
				eventually(t, time.Minute, string(u), func() bool { _, err := f.Apply(t.Context(), u, w); return err == nil })
			}
			apply("pod/ns/a", podWant("ns/a", "node1"))
			apply("pod/ns/b", podWant("ns/b", "node1"))
			apply("pod/ns/c", podWant("ns/c", "node1"))
			apply("pod/ns/a", intent.Want{})
			f.Close()
			f.idle()
			c.Fail(nil)
			again := start(t, c, &portpool.Limits{Min: 2, Batch: 2})
			if _, err := again.Refresh(t.Context(), map[string]intent.Unit{}); err != nil {
				t.Fatal(err)
			}
			apply = func(u intent.Unit, w intent.Want) {
				if _, err := again.Apply(t.Context(), u, w); err != nil {
					t.Fatal(err)
				}
			}
			apply("subnet/net2", subnetWant(""))
			for _, p := range []string{"b", "c", "first"} {
				apply(intent.Unit("pod/ns/"+p), podWant("ns/"+p, "node1"))
			}
			apply("pod/ns/a", intent.Want{})
			checkPorts(t, c, again, fmt.Sprintf("call %d failed, done: %v", n, after))
			again.Close()
			again.idle()
		}
	}
}

// checkPorts checks that each port in Neutron is in one place: a pod's or the pool's.
func checkPorts(t *testing.T, c *neutrontest.Cloud, f *Fabric, what string) {
	t.Helper()
	awaitFull(t, f, 2)
	eventually(t, time.Minute, what, func() bool {
		// Neutron may still execute a call of the dead process; the next Refresh finds
		// the port.
		if _, err := f.Refresh(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		p := f.PortPool.Pools()[0]
		return cmp.Equal([]string{"ns/b", "ns/c", "ns/first"}, pods(c)) && len(c.Names("ports"))-3 == p.Ready && p.Making+p.Returning == 0
	})
}

// pods returns the names of the ports that belong to pods.
func pods(c *neutrontest.Cloud) []string {
	return slices.DeleteFunc(c.Names("ports"), func(n string) bool { return n == plan.PooledName })
}

// A port that came back is not handed out while its old pod is still plugged.
func TestPoolWaitsForTheUnplugging(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := startPool(t, c, portpool.Limits{Min: 1, Batch: 1})
	id := apply(t, f, "pod/ns/first", podWant("ns/first", "node1")).Ports["ns/first"].ID
	c.Set("ports", id, "status", "ACTIVE")
	apply(t, f, "pod/ns/first", intent.Want{})
	eventually(t, time.Minute, "it is cleaned", func() bool { return !slices.Contains(c.Names("ports"), "ns/first") })
	for i := range 2 {
		name := fmt.Sprintf("ns/p%d", i)
		if got := apply(t, f, intent.Unit("pod/"+name), podWant(name, "node1")).Ports[name].ID; got == id {
			t.Error("it is handed out while plugged")
		}
	}
	c.Set("ports", id, "status", "DOWN")
	eventually(t, time.Minute, "it is ready", func() bool { return f.PortPool.Pools()[0].Returning == 0 && f.PortPool.Pools()[0].Ready >= 1 })
}

// Neutron creates ports and the answer is lost. The ports are found and used, and none is
// deleted. The other changes that this read finds are not lost either.
func TestPoolFindsCreatedPorts(t *testing.T) {
	t.Parallel()
	for _, birthTags := range []bool{false, true} {
		c := neutrontest.New(t)
		if birthTags {
			c.Extend(client.ExtPortTags)
		}
		var w woken
		f := startPoolAs(t, Options{
			Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Pool: &portpool.Limits{Min: 3, Batch: 3}, Changed: w.changed,
		})
		apply(t, f, "policy/ns/web", policyWant())
		deleteGroup(t, f, "np.web")
		lost := false
		c.Fail(func(_ int, r *http.Request) *neutrontest.Fault {
			if r.Method == http.MethodPost && !lost {
				lost = true
				return &neutrontest.Fault{After: true}
			}
			return nil
		})
		for i := range 3 {
			name := fmt.Sprintf("ns/p%d", i)
			apply(t, f, intent.Unit("pod/"+name), podWant(name, "node1"))
		}
		eventually(t, time.Minute, "somebody hears of what has changed", func() bool { return w.has("policy/ns/web") })
		awaitFull(t, f, 3)
		eventually(t, time.Minute, "all have their names", func() bool {
			return cmp.Equal([]string{"ns/first", "ns/p0", "ns/p1", "ns/p2"}, pods(c))
		})
		calls := c.Calls()
		posts := slices.DeleteFunc(slices.Clone(calls), func(s string) bool { return s != "POST /ports" })
		if len(posts) > 2 || slices.ContainsFunc(calls, func(s string) bool { return strings.HasPrefix(s, "DELETE /ports") }) {
			t.Errorf("what was made is not used: %v", calls)
		}
		changed, err := f.Refresh(t.Context(), nil)
		if diff := cmp.Diff([]intent.Unit{"policy/ns/web"}, changed); diff != "" || err != nil {
			t.Errorf("the next look: %v%s", err, diff)
		}
	}
}

// A read finds a port before the answer of the call that creates it, and a pod gets the
// port. No other pod gets it.
func TestPoolFindsPortsBeingCreated(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := startPool(t, c, portpool.Limits{Min: 1, Batch: 1})
	reached, on := holdAnswer(c, http.MethodPost)
	port := func(name string) string {
		return apply(t, f, intent.Unit("pod/"+name), podWant(name, "node1")).Ports[name].ID
	}
	port("ns/last") // empties the pool
	<-reached
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	a := port("ns/a")
	close(on)
	awaitFull(t, f, 1)
	if b := port("ns/b"); a == "" || a == b {
		t.Errorf("two pods have ports %q and %q", a, b)
	}
}

// A pod with groups that no pool has takes a port of another pool. One call sets the
// groups before the pod gets the port.
func TestPoolServesOtherGroups(t *testing.T) {
	t.Parallel()
	for _, birthTags := range []bool{false, true} {
		c := neutrontest.New(t)
		if birthTags {
			c.Extend(client.ExtPortTags)
		}
		var y tally
		f := startPoolAs(t, Options{
			Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Count: y.count, Pool: &portpool.Limits{Min: 2, Batch: 2, Sets: 1},
		})
		apply(t, f, "policy/ns/web", policyWant())
		y.since()
		b := apply(t, f, "pod/ns/a", podIn("ns/a", "np.web")).Ports["ns/a"]
		asked := slices.DeleteFunc(y.since(), func(s string) bool { return strings.HasSuffix(s, " behind") })
		if diff := cmp.Diff([]string{"update port"}, asked); diff != "" {
			t.Error(diff)
		}
		f.mu.Lock()
		group := f.groups.groups["np.web"].id
		f.mu.Unlock()
		if port := c.Thing("ports", b.ID); !cmp.Equal(fmt.Sprint(port["security_groups"]), "["+group+"]") || port["name"] != "ns/a" {
			t.Errorf("the pod has %v", port)
		}
		awaitFull(t, f, 2)
		eventually(t, time.Minute, "it has its tags", func() bool { return slices.Contains(content(t, f), "pod/ns/a: port ns/a") })
		if observed := apply(t, f, "pod/ns/a", podIn("ns/a", "np.web")); observed.Changed != 0 || observed.Ports["ns/a"].ID != b.ID {
			t.Errorf("the same again: %+v", observed)
		}
		if changed, err := f.Refresh(t.Context(), nil); len(changed) > 0 || err != nil {
			t.Errorf("changed: %v (%v)", changed, err)
		}
	}
}

// If the groups of a port cannot be changed, the pod does not get the port. It waits, and
// tries again with the same port.
func TestPoolPortWaitsForItsGroups(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		c := neutrontest.New(t)
		f := startPool(t, c, portpool.Limits{Min: 2, Batch: 2, Sets: 1})
		apply(t, f, "policy/ns/web", policyWant())
		ready := f.PortPool.PoolPorts(f.PortPool.Pools()[0].Key)
		c.Fail(func(_ int, r *http.Request) *neutrontest.Fault {
			if r.Method == http.MethodPut {
				return &neutrontest.Fault{After: after}
			}
			return nil
		})
		if observed, err := f.Apply(t.Context(), "pod/ns/a", podIn("ns/a", "np.web")); err == nil || len(observed.Ports) > 0 {
			t.Errorf("the pod has %+v (%v)", observed, err)
		}
		c.Fail(nil)
		id := apply(t, f, "pod/ns/a", podIn("ns/a", "np.web")).Ports["ns/a"].ID
		if !slices.ContainsFunc(ready, func(p portpool.PortStatus) bool { return p.ID == id }) {
			t.Errorf("it got another port: %s", id)
		}
		eventually(t, time.Minute, "all is in order", func() bool {
			return cmp.Equal([]string{"ns/a", "ns/first"}, pods(c)) && len(c.Names("ports")) == 2+1+2 // one of the first pool is left
		})
	}
}
