package neutron

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// The fake Neutron keeps the contract. TestContractReal checks the same cases with a real
// one.
func TestContract(t *testing.T) {
	t.Parallel()
	contract(t, Options{Owner: "contract", Cloud: neutrontest.Name, CloudsFile: neutrontest.New(t).CloudsFile})
}

func contract(t *testing.T, o Options) {
	t.Helper()
	o.Pool = &portpool.Limits{Min: 2, Batch: 2}
	f := startAs(t, o)
	r := router(t, f)
	t.Cleanup(func() { deleteEverything(t, f, r) })
	apply(t, f, "subnet/net2", subnetWant(r))
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	contractPort(t, f)
	contractRefusals(t, f)
	contractGroups(t, f)
	contractPool(t, f)
	contractForeignDelete(t, f)
	contractCrash(t, f)
	contractPrefixes(t, f, r)
	contractTrunk(t, f)
	contractQuotas(t, f)
	if n, err := f.Clear(t.Context()); n == 0 || err != nil {
		t.Error(n, err)
	}
	if diff := cmp.Diff([]string{}, content(t, f)); diff != "" {
		t.Error(diff)
	}
}

// deleteEverything deletes everything, also after a failed test. The test's context has
// ended by then.
func deleteEverything(t *testing.T, f *Fabric, router string) {
	t.Helper()
	a := f.session.Load()
	ctx := t.Context()
	if ctx.Err() != nil {
		var cancel func()
		ctx, cancel = withoutEnd(t)
		defer cancel()
	}
	if _, err := f.Clear(ctx); err != nil {
		t.Error(err)
	}
	if err := a.Delete(ctx, plan.Step{Verb: plan.Delete, Object: plan.Object{Kind: "router", ID: router}}); err != nil {
		t.Error(err)
	}
}

func contractPort(t *testing.T, f *Fabric) {
	t.Helper()
	w := podWant("ns/static", "node1")
	w.Ports[0].Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.77"), netip.MustParseAddr("fd09::77")}
	w.Ports[0].MAC = "02:00:00:00:00:77"
	b := apply(t, f, "pod/ns/static", w).Ports["ns/static"]
	want := intent.PortStatus{
		ID: b.ID, MAC: "02:00:00:00:00:77", Addrs: prefixes("10.9.0.77/24", "fd09::77/64"), MTU: 1442,
		Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd09::1")},
	}
	if diff := cmp.Diff(want, b, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	w.Ports[0].Node, w.Ports[0].Version = "node2", "another"
	if moved := apply(t, f, "pod/ns/static", w); moved.Changed != 1 || moved.Ports["ns/static"].ID != b.ID {
		t.Errorf("to move it to another node took %d steps", moved.Changed)
	}
	if same := apply(t, f, "pod/ns/static", w); same.Changed != 0 {
		t.Errorf("the same again took %d steps", same.Changed)
	}
}

// contractRefusals checks that each refusal is an intent.Wait or intent.Stop with
// Neutron's message.
func contractRefusals(t *testing.T, f *Fabric) {
	t.Helper()
	pod := func(change func(*intent.Port)) intent.Want {
		w := podWant("ns/x", "node1")
		change(&w.Ports[0])
		return w
	}
	const project = "99999999999999999999999999999999"
	quota := plan.Step{Verb: plan.Update, Object: plan.Object{Kind: "quota", ID: project, Fields: plan.Fields{"port": 0}}}
	a := f.session.Load()
	if _, err := a.Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Delete(t.Context(), plan.Step{Verb: plan.Delete, Object: quota.Object}); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		unit         intent.Unit
		want         intent.Want
		reason, text string
	}{
		{"pod/ns/x", pod(func(p *intent.Port) { p.Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.77")} }), "AddressTaken", "10.9.0.77"},
		{"pod/ns/x", pod(func(p *intent.Port) { p.Addrs = []netip.Addr{netip.MustParseAddr("10.8.0.77")} }), "Refused", "10.8.0.77"},
		{"pod/ns/x", pod(func(p *intent.Port) { p.CloudGroups = []string{"00000000-0000-4000-8000-000000000000"} }), "NotFound", "ecurity group"},
		{"pod/ns/x", pod(func(p *intent.Port) { p.Project = project }), "QuotaExceeded", "port"},
		{"pod/ns/x", pod(func(p *intent.Port) { p.Network = "unknown" }), "WaitingForNetwork", "unknown"},
		{"pod/ns/x", pod(func(p *intent.Port) { p.Groups = []string{"unknown"} }), "WaitingForGroup", "unknown"},
		{"subnet/net2", intent.Want{}, "InUse", "ns/static"},
		{"subnet/other", intent.Want{Networks: []intent.Network{{Name: "other", Existing: "00000000-0000-4000-8000-000000000000"}}}, "NoNetwork", "00000000"},
	} {
		_, err := f.Apply(t.Context(), c.unit, c.want)
		if reason(err) != c.reason || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v (reason %q)", c.want, err, reason(err))
		}
	}
	apply(t, f, "pod/ns/x", intent.Want{})
}

func reason(err error) string {
	if wait, ok := errors.AsType[intent.Wait](err); ok {
		return wait.Reason
	}
	if stop, ok := errors.AsType[intent.Stop](err); ok {
		return stop.Reason
	}
	return ""
}

func contractGroups(t *testing.T, f *Fabric) {
	t.Helper()
	w := policyWant()
	w.Groups[0].Rules = append(w.Groups[0].Rules,
		intent.Rule{Direction: intent.Egress, Remote: netip.MustParsePrefix("10.0.0.0/8")},
		intent.Rule{Direction: intent.Egress, Family: 4}, // Neutron creates such a rule with each group
		intent.Rule{Direction: intent.Ingress, Protocol: "icmp"},
		intent.Rule{Direction: intent.Ingress, Protocol: "sctp", First: 1, Last: 9, Remote: netip.MustParsePrefix("fd00::/8")},
		intent.Rule{Direction: intent.Ingress, Protocol: "udp", Remote: netip.MustParsePrefix("0.0.0.0/0")},
	)
	apply(t, f, "policy/ns/web", w)
	if same := apply(t, f, "policy/ns/web", w); same.Changed != 0 {
		t.Errorf("the same rules again took %d steps", same.Changed)
	}
	changed, err := f.Refresh(t.Context(), nil)
	if err != nil || len(changed) > 0 {
		t.Errorf("what Neutron shows is not what it was told, of %v (%v)", changed, err)
	}
	guarded := podWant("ns/guarded", "node1")
	guarded.Ports[0].Groups = []string{"np.web"}
	apply(t, f, "pod/ns/guarded", guarded)
	apply(t, f, "pod/ns/guarded", intent.Want{})
	contractProject(t, f)
	f.PortPool.Drain(func(k portpool.Key) bool { return k.Node == "node1" })
	eventually(t, time.Minute, "the group can go", func() bool {
		_, err := f.Apply(t.Context(), "policy/ns/web", intent.Want{})
		return err == nil
	})
}

// contractProject checks that a port in another project has our groups.
func contractProject(t *testing.T, f *Fabric) {
	t.Helper()
	w := podWant("ns/elsewhere", "node1")
	w.Ports[0].Groups, w.Ports[0].Project = []string{"np.web"}, "88888888888888888888888888888888"
	apply(t, f, "pod/ns/elsewhere", w)
	if same := apply(t, f, "pod/ns/elsewhere", w); same.Changed != 0 {
		t.Errorf("the same again took %d steps", same.Changed)
	}
	changed, err := f.Refresh(t.Context(), nil)
	if err != nil || len(changed) > 0 {
		t.Errorf("what Neutron shows is not what it was told, of %v (%v)", changed, err)
	}
	mine := slices.DeleteFunc(f.PortPool.Pools(), func(p portpool.Status) bool { return p.Project != w.Ports[0].Project })
	if len(mine) != 1 {
		t.Errorf("the other project has %d pools", len(mine))
	}
	apply(t, f, "pod/ns/elsewhere", intent.Want{})
}

// contractPool checks that ports are ready, get their names soon, and come back.
func contractPool(t *testing.T, f *Fabric) {
	t.Helper()
	apply(t, f, "pod/ns/first", podWant("ns/first", "node1")) // now the pool knows which ports pods ask for
	eventually(t, time.Minute, "the pool is full", func() bool {
		return len(f.PortPool.Pools()) == 1 && f.PortPool.Pools()[0].Ready == 2 && f.PortPool.Pools()[0].Making == 0
	})
	observed := apply(t, f, "pod/ns/quick", podWant("ns/quick", "node1"))
	if observed.Changed != 0 || len(observed.Ports["ns/quick"].Addrs) != 2 {
		t.Errorf("a port from the pool: %+v", observed)
	}
	eventually(t, time.Minute, "the port has its name", func() bool {
		return slices.Contains(content(t, f), "pod/ns/quick: port ns/quick")
	})
	apply(t, f, "pod/ns/quick", intent.Want{})
	eventually(t, time.Minute, "the port is back", func() bool { return f.PortPool.Pools()[0].Ready >= 2 && f.PortPool.Pools()[0].Returning == 0 })
	if again := apply(t, f, "pod/ns/first", podWant("ns/first", "node1")); again.Changed != 0 {
		t.Errorf("the first port was changed in %d steps", again.Changed)
	}
}

// contractForeignDelete checks that a port is created again after another client deleted
// it.
func contractForeignDelete(t *testing.T, f *Fabric) {
	t.Helper()
	id := apply(t, f, "pod/ns/first", podWant("ns/first", "node1")).Ports["ns/first"].ID
	if err := f.session.Load().Delete(t.Context(), plan.Step{Verb: plan.Delete, Object: plan.Object{Kind: plan.KindPort, ID: id}}); err != nil {
		t.Fatal(err)
	}
	changed, err := f.Refresh(t.Context(), nil)
	if diff := cmp.Diff([]intent.Unit{"pod/ns/first"}, changed); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if b := apply(t, f, "pod/ns/first", podWant("ns/first", "node1")).Ports["ns/first"]; b.ID == id || b.ID == "" {
		t.Errorf("the port is %+v", b)
	}
}

// contractCrash checks that nothing is left over when a controller dies before each of
// the calls that create a network with a port.
func contractCrash(t *testing.T, f *Fabric) {
	t.Helper()
	a := f.session.Load()
	u := intent.Unit("subnet/crash")
	w := intent.Want{
		Networks: []intent.Network{{Name: "crash", Prefixes: prefixes("10.11.0.0/24")}},
		Ports:    []intent.Port{{Name: "ns/crash", Network: "crash", Version: "uid", Node: "node1"}},
	}
	objects, err := plan.Translate(plan.Owner{Name: f.Owner, Unit: u}, w, plan.Dependencies{Project: a.Project, PortSecurity: true, Binding: true})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 6; n++ {
		dead := &entry{}
		if err := f.run(t.Context(), a, dead, plan.Diff(nil, objects, nil)[:n]); err != nil {
			t.Fatal(err)
		}
		next := startAs(t, f.Options)
		apply(t, next, u, w)
		want := []string{"subnet/crash: network crash", "subnet/crash: port ns/crash", "subnet/crash: subnet crash-IPv4"}
		got := slices.DeleteFunc(content(t, next), func(s string) bool { return !strings.Contains(s, "crash") })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("died after call %d: %s", n, diff)
		}
		apply(t, next, u, intent.Want{})
	}
}
