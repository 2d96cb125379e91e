package nodenet

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// node is a machine with one NIC, ovn0 and two host links.
func node() kernelState {
	return kernelState{
		links: map[string]link{
			"eth0":  {up: true, addrs: addrs("172.20.0.1")},
			"ovn0":  {up: true, addrs: addrs("100.64.0.2")},
			"isgl1": {up: true, addrs: addrs("169.254.1.1")}, "isgl2": {},
		},
		routes: []route{
			{table: mainTable, dst: netip.MustParsePrefix("0.0.0.0/0"), via: addrs("172.20.0.2")[0], link: "eth0", protocol: 3},
			{table: mainTable, dst: netip.MustParsePrefix("172.20.0.0/24"), link: "eth0", protocol: 2},
			{table: mainTable, dst: netip.MustParsePrefix("100.64.0.0/16"), link: "ovn0", protocol: 2},
			{table: mainTable, dst: netip.MustParsePrefix("10.16.0.0/16"), via: addrs("100.64.0.1")[0], link: "ovn0", protocol: protocol},
		},
	}
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func probe(pod, addr, link string) Probe {
	return Probe{Pod: pod, Addr: netip.MustParseAddr(addr), Link: link}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		probes []Probe
		paths  string
		why    []Refusal
	}{
		"a path":           {probes: []Probe{probe("n/a", "10.9.0.5", "isgl1")}, paths: "10.9.0.5@isgl1"},
		"said twice":       {probes: []Probe{probe("n/a", "10.9.0.5", "isgl1"), probe("n/a", "10.9.0.5", "isgl1")}, paths: "10.9.0.5@isgl1"},
		"two addresses":    {probes: []Probe{probe("n/a", "10.9.0.6", "isgl1"), probe("n/a", "10.9.0.5", "isgl1")}, paths: "10.9.0.5@isgl1 10.9.0.6@isgl1"},
		"node's own":       {probes: []Probe{probe("n/a", "172.20.0.1", "isgl1")}, why: []Refusal{{"n/a", "its address 172.20.0.1 is also the node's own, on eth0"}}},
		"node's network":   {probes: []Probe{probe("n/a", "172.20.0.9", "isgl1")}, why: []Refusal{{"n/a", "the node itself routes its address 172.20.0.9: 172.20.0.0/24 dev eth0"}}},
		"pod network":      {probes: []Probe{probe("n/a", "10.16.0.9", "isgl1")}, why: []Refusal{{"n/a", "its address 10.16.0.9 is also one of pod network 10.16.0.0/16, which the node reaches through ovn0"}}},
		"link not there":   {probes: []Probe{probe("n/a", "10.9.0.5", "isgl9")}, why: []Refusal{{"n/a", `its host link "isgl9" is not on the node`}}},
		"the other family": {probes: []Probe{probe("n/a", "fd00::5", "isgl1")}, why: []Refusal{{"n/a", "a host link carries IPv4 only, not fd00::5"}}},
		"twins": {probes: []Probe{probe("n/b", "10.9.0.5", "isgl2"), probe("n/a", "10.9.0.5", "isgl1")}, why: []Refusal{
			{"n/a", "its address 10.9.0.5 is on this node twice: also pod n/b, link isgl2"},
			{"n/b", "its address 10.9.0.5 is on this node twice: also pod n/a, link isgl1"},
		}},
		"one link for two": {probes: []Probe{probe("n/b", "10.9.0.6", "isgl1"), probe("n/a", "10.9.0.5", "isgl1")}, why: []Refusal{
			{"n/a", "its host link isgl1 is also that of pod n/b"}, {"n/b", "its host link isgl1 is also that of pod n/a"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := state()
			s.Probes = c.probes
			p := decide(s, node())
			var got []string
			for _, path := range p.paths {
				got = append(got, path.addr.String()+"@"+path.link)
			}
			if diff := cmp.Diff(c.paths, strings.Join(got, " ")); diff != "" {
				t.Error("paths (-want +got):\n" + diff)
			}
			if diff := cmp.Diff(c.why, p.refusals); diff != "" {
				t.Error("refusals (-want +got):\n" + diff)
			}
			if p.err != nil {
				t.Error(p.err)
			}
		})
	}
}

func TestRefusedRoutes(t *testing.T) {
	h := node()
	h.routes = append(h.routes, route{table: mainTable, dst: netip.MustParsePrefix("10.20.0.0/16"), link: "eth0", protocol: 4},
		route{table: mainTable, dst: netip.MustParsePrefix("10.21.0.0/16"), link: "eth0", protocol: 4, metric: 100})
	s := state()
	s.Routes = prefixes("0.0.0.0/0", "10.20.0.0/16", "fd00:1::/64", "10.21.0.7/16", "10.21.0.0/16")
	p := decide(s, h)
	want := `route to 0.0.0.0/0: would replace the node's own default route; name the pod networks instead
route to 10.20.0.0/16: the node has one already that is not ours (10.20.0.0/16 dev eth0); remove it or choose another CIDR
route to fd00:1::/64: ovn0 has no gateway of that family`
	if p.err == nil || p.err.Error() != want {
		t.Errorf("got %v\nwant %s", p.err, want)
	}
	if len(p.routes) != 1 || p.routes[0].String() != "10.21.0.0/16 via 100.64.0.1 dev ovn0" {
		t.Errorf("routes %v", p.routes)
	}
}

func TestRouteDiff(t *testing.T) {
	at := func(dst, via string) route {
		return route{table: mainTable, dst: netip.MustParsePrefix(dst), via: netip.MustParseAddr(via), link: NodeLink, protocol: protocol}
	}
	same, moved, old, fresh := at("10.1.0.0/16", "100.64.0.1"), at("10.2.0.0/16", "100.64.0.1"), at("10.3.0.0/16", "100.64.0.1"), at("10.4.0.0/16", "100.64.0.1")
	c := diffRoutes([]route{same, moved, fresh}, []route{old, at("10.2.0.0/16", "100.64.0.9"), same})
	if diff := cmp.Diff(routeChange{put: []route{moved, fresh}, drop: []route{old}}, c,
		cmp.AllowUnexported(route{}, routeChange{}), cmp.Comparer(func(a, b route) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

// The plan does not depend on the order of the state's lists.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := state()
		s.Probes = rapid.SliceOfN(rapid.Custom(func(r *rapid.T) Probe {
			return probe(rapid.SampledFrom([]string{"n/a", "n/b", "n/c"}).Draw(r, "pod"),
				rapid.SampledFrom([]string{"10.9.0.5", "10.9.0.6", "172.20.0.9"}).Draw(r, "addr"),
				rapid.SampledFrom([]string{"isgl1", "isgl2"}).Draw(r, "link"))
		}), 0, 5).Draw(r, "probes")
		shuffled := s
		shuffled.Probes = rapid.Permutation(s.Probes).Draw(r, "probes again")
		shuffled.Routes = rapid.Permutation(s.Routes).Draw(r, "routes again")
		shuffled.Local = rapid.Permutation(s.Local).Draw(r, "local again")
		a, b := decide(s, node()), decide(shuffled, node())
		if diff := cmp.Diff(rulesetOf(a).shape(), rulesetOf(b).shape()); diff != "" {
			r.Error(diff)
		}
		if diff := cmp.Diff(a.refusals, b.refusals); diff != "" {
			r.Error(diff)
		}
		if c := diffRoutes(a.routes, b.routes); len(c.put)+len(c.drop) > 0 {
			r.Error(c)
		}
		seen := map[netip.Addr]bool{}
		for _, p := range a.paths {
			if seen[p.addr] {
				r.Errorf("two paths to %s", p.addr)
			}
			seen[p.addr] = true
		}
	})
}
