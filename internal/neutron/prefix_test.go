package neutron

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

// prefixPoolOf creates a foreign subnet pool with one prefix.
func prefixPoolOf(t *testing.T, f *Fabric, name, prefix string) string {
	t.Helper()
	a, err := f.api(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Create(t.Context(), []plan.Step{{Verb: plan.Create, Object: plan.Object{Kind: SubnetPool, Name: name, Fields: plan.Fields{"name": name, "prefixes": []string{prefix}, "min_prefixlen": 28}}}})
	if err != nil {
		t.Fatal(err)
	}
	return w[0].ID
}

func subnetFromPool(name, router, pool string, bits int) intent.Want {
	return intent.Want{
		Networks:         []intent.Network{{Name: name, SubnetPool: pool, PrefixBits: bits}},
		RouterInterfaces: []intent.RouterInterface{{Network: name, Router: "neutron-" + router, Foreign: true}},
	}
}

// contractPrefixes checks that Neutron allocates prefixes from a subnet pool, keeps them,
// allocates a requested one again, and answers with an error when there is none left.
func contractPrefixes(t *testing.T, f *Fabric, router string) {
	t.Helper()
	name := "pool-of-" + f.Owner
	pool := prefixPoolOf(t, f, name, "10.77.0.0/27")
	defer func() {
		if err := f.session.Load().Delete(t.Context(), plan.Step{Verb: plan.Delete, Object: plan.Object{Kind: SubnetPool, ID: pool}}); err != nil {
			t.Error(err)
		}
	}()
	prefixes := map[string]bool{}
	for _, n := range []string{"ns-a", "ns-b"} {
		apply(t, f, intent.Unit("subnet/"+n), subnetFromPool(n, router, name, 28))
		prefixes[chosenPrefix(t, f, n)] = true
		if again := apply(t, f, intent.Unit("subnet/"+n), subnetFromPool(n, router, pool, 28)); again.Changed != 0 {
			t.Errorf("the second time %d things of %s changed", again.Changed, n)
		}
	}
	if diff := cmp.Diff(map[string]bool{"10.77.0.0/28": true, "10.77.0.16/28": true}, prefixes); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Apply(t.Context(), "subnet/ns-c", subnetFromPool("ns-c", router, name, 28)); reason(err) != "SubnetPoolFull" {
		t.Errorf("of a pool that is exhausted: %v", err)
	}
	apply(t, f, "subnet/ns-c", intent.Want{})

	// A known subnet is requested with its prefix, even if another client deleted it.
	known := subnetFromPool("ns-a", router, name, 28)
	s, _ := f.Network("ns-a")
	known.Networks[0].Prefixes, known.Networks[0].PrefixBits = append(known.Networks[0].Prefixes, s.Subnets[0].Prefix), 0
	known.Networks[0].Gateways = append(known.Networks[0].Gateways, s.Subnets[0].Gateway)
	if same := apply(t, f, "subnet/ns-a", known); same.Changed != 0 {
		t.Errorf("what is known took %d steps", same.Changed)
	}
	apply(t, f, "subnet/ns-a", intent.Want{})
	apply(t, f, "subnet/ns-a", known)
	if got := chosenPrefix(t, f, "ns-a"); got != s.Subnets[0].Prefix.String() {
		t.Errorf("the prefix is now %s, was %s", got, s.Subnets[0].Prefix)
	}
	for _, n := range []intent.Unit{"subnet/ns-a", "subnet/ns-b"} {
		apply(t, f, n, intent.Want{})
	}
}

func chosenPrefix(t *testing.T, f *Fabric, segment string) string {
	t.Helper()
	s, _ := f.Network(segment)
	if len(s.Subnets) != 1 || !s.Subnets[0].Gateway.IsValid() {
		t.Fatalf("segment %s is %+v", segment, s)
	}
	return s.Subnets[0].Prefix.String()
}

func TestSubnetPoolsRefused(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := start(t, c, nil)
	if _, err := f.Apply(t.Context(), "subnet/ns-a", subnetFromPool("ns-a", "r", "nobody's", 24)); reason(err) != "NotFound" {
		t.Error(err)
	}
	bare := neutrontest.New(t)
	bare.Lack(extPools)
	if _, err := start(t, bare, nil).Apply(t.Context(), "subnet/ns-a", subnetFromPool("ns-a", "r", "any", 24)); reason(err) != "NotSupported" {
		t.Error(err)
	}
}

// A call that creates a network from a subnet pool fails, or its answer is lost, or the
// controller dies of it. No prefix is allocated twice.
func TestPrefixIsNotTakenTwice(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	r := router(t, start(t, c, nil))
	prefixPoolOf(t, start(t, c, nil), "p", "10.77.0.0/28")
	w := subnetFromPool("ns-a", r, "p", 28)
	for _, after := range []bool{false, true} {
		for n, calls := 1, 99; n <= calls; n++ {
			c.Fail(func(call int, _ *http.Request) *neutrontest.Fault {
				if call == n {
					return &neutrontest.Fault{After: after}
				}
				return nil
			})
			_, _ = start(t, c, nil).Apply(t.Context(), "subnet/ns-a", w)
			calls = len(c.Calls())
			c.Fail(nil)
			f := start(t, c, nil)
			apply(t, f, "subnet/ns-a", w)
			want := []string{"subnet/ns-a: network ns-a", "subnet/ns-a: router_interface ns-a-IPv4", "subnet/ns-a: subnet ns-a-IPv4"}
			if diff := cmp.Diff(want, content(t, f)); diff != "" {
				t.Errorf("died at call %d: %s", n, diff)
			}
			apply(t, f, "subnet/ns-a", intent.Want{})
		}
	}
}
