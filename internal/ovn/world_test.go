package ovn

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
)

// world has the wants of all units at one time.
type world map[intent.Unit]intent.Want

func drawWorld(t *rapid.T, label string) world {
	w := world{}
	for _, r := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"r1", "r2"}), rapid.ID).Draw(t, label+" routers") {
		w[intent.Unit("vpc/"+r)] = vpc(r)
	}
	for _, g := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"g1", "g2"}), rapid.ID).Draw(t, label+" groups") {
		want := group(g)
		if _, there := w["vpc/r1"]; there && rapid.Bool().Draw(t, label+g+" reroutes") {
			want.RoutePolicies = []intent.RoutePolicy{
				{Router: "r1", Priority: 100, From: g, NextHops: []netip.Addr{netip.MustParseAddr("100.64.0.2"), netip.MustParseAddr("fd64::2")}},
				{Router: "r1", Priority: 200, To: prefix("10.16.0.0/16"), Allow: true},
			}
		}
		w[intent.Unit("node/"+g)] = want
	}
	var networks []string
	for _, s := range []string{"s1", "s2", "s3"} {
		switch router := rapid.SampledFrom([]string{"", "-", "r1", "r2", "neutron"}).Draw(t, label+" "+s); router {
		case "":
			continue
		case "-":
			w[intent.Unit("subnet/"+s)] = intent.Want{Networks: []intent.Network{{Name: s}}}
		default:
			if router != "neutron" && len(w["vpc/"+intent.Unit(router)].Routers) == 0 {
				continue
			}
			w[intent.Unit("subnet/"+s)] = subnet(s, router, router == "neutron")
		}
		networks = append(networks, s)
	}
	if len(networks) > 0 {
		drawPods(t, label, w, networks)
	}
	return w
}

func drawPods(t *rapid.T, label string, w world, networks []string) {
	for i := range rapid.IntRange(0, 4).Draw(t, label+" pods") {
		name := fmt.Sprint("p", i)
		var groups []string
		for _, g := range []string{"g1", "g2", "foreign"} {
			if _, there := w["node/"+intent.Unit(g)]; (there || g == "foreign") && rapid.Bool().Draw(t, label+name+g) {
				groups = append(groups, g)
			}
		}
		want := pod(name, rapid.SampledFrom(networks).Draw(t, label+name), groups...)
		p := &want.Ports[0]
		p.UnknownAddresses = rapid.Bool().Draw(t, label+name+" unknown")
		if rapid.Bool().Draw(t, label+name+" nested") {
			p.Parent, p.Tag = "vm", 1+i
		}
		p.Addrs = append(p.Addrs, netip.MustParseAddr("fd00::1"))
		w[intent.Unit("pod/ns/"+name)] = want
	}
}

// applyWorld applies a world in any order until no unit waits for another. It also
// applies the units that exist only in the world before.
func applyWorld(t *rapid.T, tt *testing.T, f *Fabric, was, is world) {
	units := slices.Sorted(maps.Keys(was))
	for u := range is {
		if _, known := was[u]; !known {
			units = append(units, u)
		}
	}
	slices.Sort(units)
	units = rapid.Permutation(units).Draw(t, "order")
	for range 6 {
		var waiting []intent.Unit
		for _, u := range units {
			_, err := f.Apply(withTimeout(tt), u, is[u])
			if _, ok := errors.AsType[intent.Wait](err); ok {
				waiting = append(waiting, u)
			} else if err != nil {
				t.Fatalf("apply %s: %v", u, err)
			}
		}
		if len(waiting) == 0 {
			return
		}
	}
	t.Fatalf("units wait for each other: %v", units)
}

// addNeutronRouter adds the rows of Neutron that TestOnlyLastWorldCounts uses.
func addNeutronRouter(s *ovntest.Server) {
	s.Nbctl("lr-add", "neutron", "--", "set", "logical_router", "neutron", `external_ids:"neutron:router_name"=router0`,
		"--", "lrp-add", "neutron", "lrp-1", "fa:16:3e:00:00:01", "10.10.1.1/24",
		"--", "set", "logical_router_port", "lrp-1", `external_ids:"neutron:network_name"=neutron-net`,
		`external_ids:"neutron:subnet_ids"=11111111-1111-1111-1111-111111111111`,
		"--", "ls-add", "neutron-net", "--", "set", "logical_switch", "neutron-net", `external_ids:"neutron:mtu"=1442`,
		"--", "pg-add", "foreign",
		"--", "lb-add", "octavia", "10.10.1.9:80", "10.10.1.5:80", "--", "lr-lb-add", "neutron", "octavia")
}

// The database depends only on the last world, not on earlier worlds or restarts. When
// all units want nothing, it is as at the start.
func TestOnlyLastWorldCounts(t *testing.T) {
	walked, straight := ovntest.New(t, ovntest.Northbound), ovntest.New(t, ovntest.Northbound)
	addNeutronRouter(walked)
	addNeutronRouter(straight)
	empty := walked.DumpExact()
	f, g := dial(t, walked), dial(t, straight)
	rapid.Check(t, func(rt *rapid.T) {
		was := world{}
		for i := range rapid.IntRange(1, 4).Draw(rt, "steps") {
			is := drawWorld(rt, fmt.Sprint("world ", i))
			if rapid.Bool().Draw(rt, "restart") {
				f.Close()
				f = dial(t, walked)
			}
			applyWorld(rt, t, f, was, is)
			was = is
		}
		applyWorld(rt, t, g, world{}, was)
		if diff := cmp.Diff(lines(straight.Dump()), lines(walked.Dump())); diff != "" {
			rt.Fatalf("the way here left traces (-straight +walked):\n%s", diff)
		}
		for _, f := range []*Fabric{f, g} {
			if _, err := f.Clear(withTimeout(t)); err != nil {
				rt.Fatal(err)
			}
		}
		if diff := cmp.Diff(lines(empty), lines(walked.DumpExact())); diff != "" {
			rt.Fatalf("left over:\n%s", diff)
		}
	})
}

func lines(s string) []string { return strings.Split(s, "\n") }
