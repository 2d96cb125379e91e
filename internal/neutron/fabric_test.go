package neutron

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start returns a Fabric that is closed at the end of the test.
func start(t *testing.T, c *neutrontest.Cloud, pool *portpool.Limits) *Fabric {
	t.Helper()
	return startAs(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Pool: pool})
}

func startAs(t *testing.T, o Options) *Fabric {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	f := New(context.WithoutCancel(t.Context()), o)
	t.Cleanup(func() { f.Close(); f.idle() })
	return f
}

// holdAnswer delays the answer to the first call with a method: the call has been
// executed when reached is closed, and is answered when the test closes on.
func holdAnswer(c *neutrontest.Cloud, method string) (reached <-chan struct{}, on chan<- struct{}) {
	there, until := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.Fail(func(_ int, r *http.Request) (f *neutrontest.Fault) {
		if r.Method == method {
			once.Do(func() { f = &neutrontest.Fault{Reached: there, Until: until} })
		}
		return f
	})
	return there, until
}

// withoutEnd returns a context for work after the end of the test's own context.
func withoutEnd(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
}

func timeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

// idle closes idle connections, for goleak.
func (f *Fabric) idle() {
	if a := f.session.Load(); a != nil {
		a.Networking.HTTPClient.CloseIdleConnections()
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func subnetWant(router string) intent.Want {
	w := intent.Want{Networks: []intent.Network{{
		Name: "net2", Prefixes: prefixes("10.9.0.0/24", "fd09::/64"),
		Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd09::1")},
	}}}
	if router != "" {
		w.RouterInterfaces = []intent.RouterInterface{{Network: "net2", Router: "neutron-" + router, Foreign: true}}
	}
	return w
}

func podWant(name, node string) intent.Want {
	return intent.Want{Ports: []intent.Port{{
		Name: name, Network: "net2", Version: "uid-of-" + name, Node: node,
	}}}
}

func apply(t *testing.T, f *Fabric, u intent.Unit, w intent.Want) intent.Observed {
	t.Helper()
	observed, err := f.Apply(t.Context(), u, w)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

// router creates a foreign router.
func router(t *testing.T, f *Fabric) string {
	t.Helper()
	a, err := f.api(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Create(t.Context(), []plan.Step{{Verb: plan.Create, Object: plan.Object{Kind: "router", Name: "r", Fields: plan.Fields{"name": "r"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return w[0].ID
}

// content describes all our objects, by unit.
func content(t *testing.T, f *Fabric) []string {
	t.Helper()
	a, err := f.api(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := a.OfCluster(t.Context(), f.Owner)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for u, objects := range all {
		for _, o := range objects {
			name := o.Name
			if o.Kind == plan.KindRouterInterface {
				name = name[strings.Index(name, "/")+1:]
			}
			if o.Kind.Tagged() && !plan.IsTagged(o) && !pooled(u) {
				name += " without tags"
			}
			out = append(out, fmt.Sprintf("%s: %s %s", u, o.Kind, name))
		}
	}
	slices.Sort(out)
	return out
}

func TestSubnetAndPods(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := start(t, c, nil)
	r := router(t, f)
	apply(t, f, "subnet/net2", subnetWant(r))
	observed := apply(t, f, "pod/ns/a", podWant("ns/a", "node1"))
	b := observed.Ports["ns/a"]
	if b.ID == "" || b.MAC == "" || b.MTU != 1442 {
		t.Errorf("the port is %+v", b)
	}
	if diff := cmp.Diff("[10.9.0.2/24 fd09::2/64] [10.9.0.1 fd09::1]", fmt.Sprint(b.Addrs, b.Gateways)); diff != "" {
		t.Error(diff)
	}
	apply(t, f, "pod/ns/b", podWant("ns/b", "node2"))
	want := []string{
		"pod/ns/a: port ns/a", "pod/ns/b: port ns/b",
		"subnet/net2: network net2", "subnet/net2: router_interface net2-IPv4", "subnet/net2: router_interface net2-IPv6",
		"subnet/net2: subnet net2-IPv4", "subnet/net2: subnet net2-IPv6",
	}
	if diff := cmp.Diff(want, content(t, f)); diff != "" {
		t.Error(diff)
	}
	if again := apply(t, f, "subnet/net2", subnetWant(r)); again.Changed != 0 {
		t.Errorf("the second time %d things changed", again.Changed)
	}
	units, err := f.Units(t.Context())
	if diff := cmp.Diff([]intent.Unit{"pod/ns/a", "pod/ns/b", "subnet/net2"}, units); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := f.Clear(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, content(t, f)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{}, c.Names("ports")); diff != "" {
		t.Error(diff)
	}
}

// eventually waits until is returns true.
func eventually(t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	end := time.Now().Add(within)
	for !is() {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, within)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
