package neutron

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

// peerWant is a group without rules to which others refer.
func peerWant() intent.Want { return intent.Want{Groups: []intent.Group{{Name: "peer/db"}}} }

// allowWant is a group whose rules refer to another unit's group.
func allowWant() intent.Want {
	return intent.Want{Groups: []intent.Group{{Name: "policy/ns/web", Rules: []intent.Rule{
		{Direction: intent.Ingress, RemoteGroup: "peer/db"},
		{Direction: intent.Egress, Protocol: "tcp", First: 80, Last: 90, RemoteGroup: "peer/db"},
		{Direction: intent.Ingress, RemoteGroup: "policy/ns/web"},
	}}}}
}

func memberWant() intent.Want {
	w := podWant("ns/a", "node1")
	w.Ports[0].Groups = []string{"peer/db", "policy/ns/web"}
	return w
}

// policies starts a Fabric with a peer group, a policy's group and a pod in both.
func policies(t *testing.T, o Options) *Fabric {
	t.Helper()
	f := startAs(t, o)
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, f, "subnet/net2", subnetWant(""))
	apply(t, f, "peer/db", peerWant())
	apply(t, f, "policy/ns/web", allowWant())
	apply(t, f, "pod/ns/a", memberWant())
	return f
}

// woken records the calls of Options.Changed.
type woken struct {
	mu    sync.Mutex
	units []intent.Unit
}

func (w *woken) changed(u intent.Unit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.units = append(w.units, u)
}

func (w *woken) has(u intent.Unit) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.units, u)
}

// deleteGroup deletes one of our groups by its name, as another client would.
func deleteGroup(t *testing.T, f *Fabric, name string) {
	t.Helper()
	f.mu.Lock()
	id := f.groups.groups[name].id
	f.mu.Unlock()
	if err := f.session.Load().Delete(t.Context(), plan.Step{Verb: plan.Delete, Object: plan.Object{Kind: plan.KindGroup, ID: id}}); err != nil || id == "" {
		t.Fatal(id, err)
	}
}

// podIn is a pod in these groups.
func podIn(name string, groups ...string) intent.Want {
	w := podWant(name, "node1")
	w.Ports[0].Groups = groups
	return w
}

// A failure of Neutron does not make a group count as gone.
func TestGroupsSurviveFailures(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile})
	for _, fault := range []neutrontest.Fault{{Code: http.StatusServiceUnavailable}, {}, {After: true}} {
		c.Fail(func(int, *http.Request) *neutrontest.Fault { return &fault })
		if _, err := f.Apply(t.Context(), "pod/ns/b", podIn("ns/b", "peer/db")); err == nil {
			t.Error("the call did not fail")
		}
		c.Fail(nil)
		apply(t, f, "pod/ns/c", podIn("ns/c", "peer/db"))
		if calls := c.Calls(); slices.ContainsFunc(calls, func(s string) bool { return strings.HasPrefix(s, "GET") }) {
			t.Errorf("after %+v all is asked again: %v", fault, calls)
		}
		apply(t, f, "pod/ns/c", intent.Want{})
	}
}

// Another client deletes a group. The unit that owns it is woken when a call fails, and
// creates it again. Then all units that refer to it follow.
func TestGroupDeletedByOthers(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	var w woken
	f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Changed: w.changed})
	apply(t, f, "pod/ns/a", podIn("ns/a", "policy/ns/web"))
	deleteGroup(t, f, "peer/db")
	_, err := f.Apply(t.Context(), "pod/ns/b", podIn("ns/b", "peer/db"))
	if reason(err) != "NotFound" || !w.has("peer/db") {
		t.Errorf("%v, and woken are %v", err, w.units)
	}
	if _, err := f.Apply(t.Context(), "pod/ns/b", podIn("ns/b", "peer/db")); reason(err) != "WaitingForGroup" {
		t.Error(err)
	}
	apply(t, f, "peer/db", peerWant())
	if !w.has("policy/ns/web") || !w.has("pod/ns/b") || w.has("pod/ns/a") {
		t.Errorf("woken are %v", w.units)
	}
	apply(t, f, "policy/ns/web", allowWant())
	apply(t, f, "pod/ns/b", podIn("ns/b", "peer/db"))
	settled(t, c, f)
}

// settled checks that everything is as if nothing had happened, also after a Refresh.
func settled(t *testing.T, c *neutrontest.Cloud, f *Fabric) {
	t.Helper()
	if changed, err := f.Refresh(t.Context(), nil); len(changed) > 0 || err != nil {
		t.Errorf("changed are %v (%v)", changed, err)
	}
	if n := len(c.Names("security-group-rules")); n != 6 {
		t.Errorf("there are %d rules", n)
	}
	for _, u := range []intent.Unit{"policy/ns/web", "peer/db"} {
		w := map[intent.Unit]intent.Want{"policy/ns/web": allowWant(), "peer/db": peerWant()}[u]
		if seen := apply(t, f, u, w); seen.Changed != 0 {
			t.Errorf("%s took %d steps more", u, seen.Changed)
		}
	}
}

// Refresh finds a missing group, too, and returns all units that refer to it.
func TestRefreshFindsMissingGroup(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile})
	apply(t, f, "pod/ns/a", podIn("ns/a", "policy/ns/web"))
	waiting := podIn("ns/b", "peer/db")
	waiting.Ports[0].Network = "unknown"
	if _, err := f.Apply(t.Context(), "pod/ns/b", waiting); reason(err) != "WaitingForNetwork" {
		t.Error(err)
	}
	deleteGroup(t, f, "peer/db")
	changed, err := f.Refresh(t.Context(), nil)
	if diff := cmp.Diff([]intent.Unit{"peer/db", "pod/ns/b", "policy/ns/web"}, changed); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := f.Apply(t.Context(), "policy/ns/web", allowWant()); reason(err) != "WaitingForGroup" {
		t.Errorf("the group is not there yet, but %v", err)
	}
	apply(t, f, "peer/db", peerWant())
	apply(t, f, "policy/ns/web", allowWant())
	settled(t, c, f)
}

// A group is deleted when all our ports have left it, and not tried before.
func TestGroupWaitsForItsMembers(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	var w woken
	f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Changed: w.changed})
	c.Fail(nil)
	_, err := f.Apply(t.Context(), "policy/ns/web", intent.Want{})
	if reason(err) != "InUse" || !strings.Contains(err.Error(), "pod/ns/a") || len(c.Calls()) > 0 {
		t.Errorf("%v, after %v", err, c.Calls())
	}
	c.Fail(func(int, *http.Request) *neutrontest.Fault { return &neutrontest.Fault{After: true} })
	if _, err := f.Apply(t.Context(), "pod/ns/a", podIn("ns/a", "peer/db")); err == nil {
		t.Error("the call did not fail")
	}
	c.Fail(nil)
	if _, err := f.Apply(t.Context(), "policy/ns/web", intent.Want{}); reason(err) != "InUse" || w.has("policy/ns/web") {
		t.Errorf("nobody knows whether it has left, but %v", err)
	}
	apply(t, f, "pod/ns/a", podIn("ns/a", "peer/db"))
	if !w.has("policy/ns/web") {
		t.Errorf("woken are %v", w.units)
	}
	apply(t, f, "policy/ns/web", intent.Want{})
	if _, err := f.Apply(t.Context(), "peer/db", intent.Want{}); reason(err) != "InUse" {
		t.Error(err)
	}
	apply(t, f, "pod/ns/a", intent.Want{})
	apply(t, f, "peer/db", intent.Want{})
	if groups := c.Names("security-groups"); len(groups) != 1 {
		t.Errorf("left: %v", groups)
	}
}

// A group with a foreign port cannot be deleted until the port has left it.
func TestGroupWithForeignPort(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile})
	apply(t, f, "pod/ns/a", intent.Want{})
	next := start(t, c, nil) // has a port in the group, which is a foreign port to f
	apply(t, next, "subnet/net2", subnetWant(""))
	apply(t, next, "pod/ns/b", podIn("ns/b", "peer/db"))
	if _, err := f.Apply(t.Context(), "peer/db", intent.Want{}); reason(err) != "InUse" {
		t.Error(err)
	}
}

// No group is deleted during a call for a port, and no call for a port is made during the
// deletion of a group.
func TestGroupDeletedWithoutPortCalls(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile})
	apply(t, f, "policy/ns/other", intent.Want{Groups: []intent.Group{{Name: "other"}}})
	for _, k := range []struct {
		method       string
		first, later intent.Unit
	}{{"PUT", "pod/ns/a", "policy/ns/other"}, {"DELETE", "policy/ns/other", "pod/ns/a"}} {
		wants := map[intent.Unit]intent.Want{"pod/ns/a": podIn("ns/a", "peer/db"), "policy/ns/other": {}}
		reached, on := holdAnswer(c, k.method)
		done := make(chan error, 1)
		go func() { _, err := f.Apply(t.Context(), k.first, wants[k.first]); done <- err }()
		<-reached
		ctx, cancel := timeout(t, 50*time.Millisecond)
		if _, err := f.Apply(ctx, k.later, wants[k.later]); err == nil || len(c.Calls()) != 1 {
			t.Errorf("%s did not wait (%v): %v", k.later, err, c.Calls())
		}
		cancel()
		close(on)
		if err := <-done; err != nil {
			t.Error(err)
		}
		apply(t, f, k.later, wants[k.later])
		c.Fail(nil)
		apply(t, f, "pod/ns/a", memberWant())
		apply(t, f, "policy/ns/other", intent.Want{Groups: []intent.Group{{Name: "other"}}})
	}
}

// Refresh finds rules that refer to another unit's group unchanged.
func TestRefreshKeepsRulesOfOtherGroups(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile})
	for range 2 {
		changed, err := f.Refresh(t.Context(), nil)
		if err != nil || len(changed) > 0 {
			t.Errorf("nothing has changed, but %v (%v)", changed, err)
		}
	}
	next := start(t, c, nil)
	if _, err := next.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, next, "subnet/net2", subnetWant(""))
	if seen := apply(t, next, "policy/ns/web", allowWant()); seen.Changed != 0 {
		t.Errorf("after a restart the rules took %d steps", seen.Changed)
	}
}

// A Refresh that began before a unit created, changed or deleted an object does not
// change that unit's entry, wherever in the read that happens.
func TestRefreshDuringWork(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 5; at++ { // a Refresh makes five lists
		c := neutrontest.New(t)
		f := policies(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile})
		other, less := policyWant(), allowWant()
		less.Groups[0].Rules = less.Groups[0].Rules[1:]
		apply(t, f, "policy/ns/goes", intent.Want{Groups: []intent.Group{{Name: "goes"}}})
		reached, on := make(chan struct{}), make(chan struct{})
		var lists int
		c.Fail(func(_ int, r *http.Request) *neutrontest.Fault {
			if lists += map[bool]int{true: 1}[r.Method == http.MethodGet]; r.Method == http.MethodGet && lists == at {
				return &neutrontest.Fault{Until: on, Reached: reached}
			}
			return nil
		})
		result := make(chan []intent.Unit, 1)
		go func() {
			changed, err := f.Refresh(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			result <- changed
		}()
		<-reached
		apply(t, f, "policy/ns/late", other)
		apply(t, f, "policy/ns/web", less)
		apply(t, f, "policy/ns/goes", intent.Want{})
		close(on)
		if changed := <-result; len(changed) > 0 {
			t.Errorf("at list %d: nobody else has changed anything, but %v", at, changed)
		}
		for u, w := range map[intent.Unit]intent.Want{"policy/ns/late": other, "policy/ns/web": less, "policy/ns/goes": {}} {
			if seen := apply(t, f, u, w); seen.Changed != 0 {
				t.Errorf("at list %d: %s took %d steps more", at, u, seen.Changed)
			}
		}
		if changed, err := f.Refresh(t.Context(), nil); len(changed) > 0 || err != nil {
			t.Errorf("after list %d: %v (%v)", at, changed, err)
		}
		c.Fail(nil)
		f.Close()
		f.idle()
	}
}
