package neutron

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// One list has the status of all pending ports, and the units that wait for them are
// woken.
func TestPortsComeUp(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	parent, _ := c.Trunk("vm1")
	c.Set("ports", parent, "status", "DOWN")
	woken := make(chan intent.Unit, 100)
	f := startAs(t, Options{
		Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Changed: func(u intent.Unit) { woken <- u },
		pace: trunk.Pace{Checks: retry.Backoff{First: time.Millisecond, Longest: 20 * time.Millisecond}, Stuck: time.Hour},
	})
	apply(t, f, "subnet/net2", subnetWant(""))
	want := map[intent.Unit]bool{}
	for i := range 5 {
		u := intent.Unit(fmt.Sprintf("pod/ns/p%d", i))
		want[u] = true
		if _, err := f.Apply(t.Context(), u, nestedWant(fmt.Sprintf("ns/p%d", i), parent)); reason(err) != PortNotUp {
			t.Fatalf("%v", err)
		}
	}
	c.Fail(nil)
	eventually(t, time.Minute, "it is looked at", func() bool { return len(c.Calls()) > 2 })
	if other := slices.DeleteFunc(c.Calls(), func(s string) bool { return s == "GET /ports" }); len(other) > 0 {
		t.Errorf("%v", other)
	}
	for id := range c.Behind(parent) {
		c.Set("ports", id, "status", "ACTIVE")
	}
	for got := range want {
		want[got] = false
	}
	for range want {
		want[<-woken] = true
	}
	for u, woken := range want {
		if !woken {
			t.Errorf("%s was not told", u)
		}
		apply(t, f, u, nestedWant(strings.TrimPrefix(string(u), "pod/"), parent))
	}
	for id := range c.Behind(parent) { // the machine is off; its pods keep their ports
		c.Set("ports", id, "status", "DOWN")
	}
	apply(t, f, "pod/ns/p0", nestedWant("ns/p0", parent))
}

// A port that is not up although its parent is up is attached again.
func TestPortNeverComesUp(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	parent, _ := c.Trunk("vm1")
	f := startAs(t, Options{
		Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile,
		pace: trunk.Pace{Checks: retry.Backoff{First: time.Millisecond, Longest: 10 * time.Millisecond}, Stuck: 20 * time.Millisecond},
	})
	apply(t, f, "subnet/net2", subnetWant(""))
	c.Set("ports", parent, "status", "DOWN")
	if _, err := f.Apply(t.Context(), "pod/ns/a", nestedWant("ns/a", parent)); reason(err) != PortNotUp {
		t.Fatalf("%v", err)
	}
	was := c.Behind(parent)
	c.Set("ports", parent, "status", "ACTIVE")
	observed := applyUntilDone(t, f, "pod/ns/a", nestedWant("ns/a", parent))
	if now := c.Behind(parent); !maps.Equal(was, now) || !observed.Up["ns/a"] {
		t.Errorf("%v, and then %v: %+v", was, now, observed)
	}
}

// If OVN sees a port, Neutron's status does not count and Neutron is not asked.
func TestOVNStatusTakesPrecedence(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	parent, _ := c.Trunk("vm1")
	var up atomic.Bool
	woken := make(chan intent.Unit, 1)
	f := startAs(t, Options{
		Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile,
		Changed: func(u intent.Unit) { woken <- u }, Up: func(string) (bool, bool) { return up.Load(), true },
		pace: trunk.Pace{Checks: retry.Backoff{First: time.Hour, Longest: time.Hour}, Stuck: time.Hour},
	})
	apply(t, f, "subnet/net2", subnetWant(""))
	b, err := f.Apply(t.Context(), "pod/ns/a", nestedWant("ns/a", parent))
	if reason(err) != PortNotUp || b.Up["ns/a"] {
		t.Fatalf("%v", err)
	}
	c.Fail(nil)
	up.Store(true)
	for id := range c.Behind(parent) {
		f.Rose(id)
	}
	if u := <-woken; u != "pod/ns/a" {
		t.Errorf("%s was told", u)
	}
	apply(t, f, "pod/ns/a", nestedWant("ns/a", parent))
	if calls := c.Calls(); len(calls) > 0 {
		t.Errorf("%v", calls)
	}
}
