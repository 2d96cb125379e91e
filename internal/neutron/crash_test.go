package neutron

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

// policyWant is a security group with rules, one of which refers to the group itself.
func policyWant() intent.Want {
	return intent.Want{Groups: []intent.Group{{Name: "np.web", Rules: []intent.Rule{
		{Direction: intent.Ingress, Protocol: "tcp", First: 80, Last: 80},
		{Direction: intent.Ingress, RemoteGroup: "np.web"},
	}}}}
}

// life is the sequence of states of a small cluster. Each state is applied completely
// before the next one begins.
func life(router, parent string) []map[intent.Unit]intent.Want {
	none := intent.Want{}
	moved := podWant("ns/b", "node2")
	moved.Ports[0].Version = "another"
	guarded := podWant("ns/a", "node1")
	guarded.Ports[0].Groups = []string{"np.web"}
	nested, nestedGuarded := nestedWant("ns/n", parent), nestedWant("ns/n", parent)
	nestedGuarded.Ports[0].Groups = []string{"np.web"}
	nested.Ports[0].MustBeUp, nestedGuarded.Ports[0].MustBeUp = false, false
	return []map[intent.Unit]intent.Want{
		{"subnet/net2": subnetWant(router)},
		{"policy/ns/web": policyWant()},
		{"pod/ns/a": podWant("ns/a", "node1"), "pod/ns/b": podWant("ns/b", "node1"), "pod/ns/n": nested},
		{"pod/ns/a": guarded, "pod/ns/b": moved, "pod/ns/n": nestedGuarded},
		{"pod/ns/a": none, "pod/ns/b": none, "pod/ns/n": none},
		{"policy/ns/web": none},
		{"subnet/net2": none},
	}
}

// applyStates applies states in order until an error.
func applyStates(ctx context.Context, f *Fabric, states []map[intent.Unit]intent.Want) error {
	for _, s := range states {
		if err := applyState(ctx, f, s); err != nil {
			return err
		}
	}
	return nil
}

func applyState(ctx context.Context, f *Fabric, state map[intent.Unit]intent.Want) error {
	units := []intent.Unit{}
	for u := range state {
		units = append(units, u)
	}
	slices.Sort(units)
	for _, u := range units {
		if _, err := f.Apply(ctx, u, state[u]); err != nil {
			return err
		}
	}
	return nil
}

// finalState returns the result of states: what each unit wants at the end.
func finalState(states []map[intent.Unit]intent.Want) map[intent.Unit]intent.Want {
	all := map[intent.Unit]intent.Want{}
	for _, s := range states {
		maps.Copy(all, s)
	}
	return all
}

// failure is the way in which a call fails.
type failure struct {
	// restart is true if the controller dies of it.
	restart bool
	// after is true if the call is executed all the same.
	after bool
	// tagsOnCreate is true if this Neutron takes tags in the call that creates a port.
	tagsOnCreate bool
}

// For each n, the n-th call fails, executed or not, and the controller dies or goes on.
// After it has applied everything again, nothing is left over and nothing exists twice.
func TestFailureAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, a := range []failure{
		{restart: true}, {restart: true, after: true}, {}, {after: true}, {restart: true, after: true, tagsOnCreate: true},
	} {
		for upTo := range life("", "") {
			want := withoutFailure(t, upTo+1)
			for n, more := 1, true; more; n++ {
				more = a.run(t, upTo+1, n, want)
			}
		}
	}
}

// run makes the n-th call of the last of several states fail. It returns false if
// there is no such call.
func (a failure) run(t *testing.T, upTo, n int, want map[string][]string) bool {
	t.Helper()
	c := neutrontest.New(t)
	if a.tagsOnCreate {
		c.Extend(client.ExtPortTags)
	}
	parent, _ := c.Trunk("vm1")
	f := start(t, c, nil)
	states := life(router(t, f), parent)[:upTo]
	if err := applyStates(t.Context(), f, states[:upTo-1]); err != nil {
		t.Fatal(err)
	}
	ctx, die := context.WithCancel(t.Context())
	defer die()
	c.Fail(func(call int, _ *http.Request) *neutrontest.Fault {
		if call != n {
			return nil
		}
		if a.restart {
			die()
		}
		return &neutrontest.Fault{After: a.after}
	})
	if err := applyState(ctx, f, states[upTo-1]); err != nil && !a.restart {
		settle(t, f, states[upTo-1])
	}
	happened := len(c.Calls()) >= n
	c.Fail(nil)
	if a.restart {
		f.Close()
		f.idle()
		f = start(t, c, nil)
		recover(t, f, finalState(states))
	}
	if diff := cmp.Diff(want, everything(t, c, f)); diff != "" {
		t.Fatalf("%+v in state %d at call %d: %s", a, upTo, n, diff)
	}
	f.Close()
	f.idle()
	return happened
}

// recover does what a controller does at its start: it refreshes, sweeps and applies.
func recover(t *testing.T, f *Fabric, wants map[intent.Unit]intent.Want) {
	t.Helper()
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	units, err := f.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[intent.Unit]intent.Want{}
	for _, u := range units {
		all[u] = wants[u]
	}
	maps.Copy(all, wants)
	settle(t, f, all)
}

// settle applies all units. It repeats those that wait for others.
func settle(t *testing.T, f *Fabric, all map[intent.Unit]intent.Want) {
	t.Helper()
	var err error
	for range 2 * len(all) {
		err = nil
		for u, w := range all {
			_, e := f.Apply(t.Context(), u, w)
			err = errors.Join(err, e)
		}
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}

// withoutFailure returns the result when no call fails.
func withoutFailure(t *testing.T, upTo int) map[string][]string {
	t.Helper()
	c := neutrontest.New(t)
	parent, _ := c.Trunk("vm1")
	f := start(t, c, nil)
	settle(t, f, finalState(life(router(t, f), parent)[:upTo]))
	return everything(t, c, f)
}

// everything returns our objects, and all objects, by kind.
func everything(t *testing.T, c *neutrontest.Cloud, f *Fabric) map[string][]string {
	t.Helper()
	all := map[string][]string{"ours": content(t, f)}
	for _, k := range []string{"networks", "subnets", "ports", "security-groups", "security-group-rules"} {
		all[k] = c.Names(k)
	}
	return all
}
