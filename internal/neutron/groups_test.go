package neutron

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

// peerWant is a group without rules, that others name.
func peerWant() intent.Want { return intent.Want{Groups: []intent.Group{{Name: "peer/db"}}} }

// allowWant is a group whose rules name another unit's.
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

// policies starts a Fabric with a peer, a policy and a pod that is in both.
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

// woken are the units that Options.Changed was told.
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

// A look at rules that name another unit's group finds them as they were made.
func TestLookKeepsRulesAboutOthers(t *testing.T) {
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

// A look that began before a unit made, changed or deleted something says
// nothing about that unit, wherever in the look that happens.
func TestLookDuringWork(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 5; at++ { // a look is five lists
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
