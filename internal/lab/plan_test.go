package lab

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

var underlay = netip.MustParsePrefix("172.31.0.0/24")

var update = flag.Bool("update", false, "rewrite testdata")

func TestPlan(t *testing.T) {
	o := Options{
		Dir: "/run/isthmus-plan", Underlay: underlay, Repo: "/src/isthmus", KubeBin: "/cache/kubernetes", CacheDir: "/cache",
		Nodes: 2, VMs: 1, OpenStack: true, Octavia: true, Isthmus: true, Profile: SharedOVN,
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := New(o, &got).Plan(); err != nil {
		t.Fatal(err)
	}
	compare(t, "testdata/plan.golden", got)
}

func TestPlanNeutron(t *testing.T) {
	o := Options{
		Dir: "/run/isthmus-plan", Underlay: netip.MustParsePrefix("172.31.1.0/24"), Repo: "/src/isthmus", KubeBin: "/cache/kubernetes",
		CacheDir: "/cache", Nodes: 1, VMs: 1, OpenStack: true, Octavia: true, Isthmus: true, Profile: Neutron,
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := New(o, &got).Plan(); err != nil {
		t.Fatal(err)
	}
	compare(t, "testdata/plan-neutron.golden", got)
}

func TestPlanNested(t *testing.T) {
	o := Options{
		Dir: "/run/isthmus-plan", Underlay: netip.MustParsePrefix("172.31.1.0/24"), Repo: "/src/isthmus", KubeBin: "/cache/kubernetes",
		CacheDir: "/cache", Nodes: 2, VMs: 1, OpenStack: true, Octavia: true, Isthmus: true, Profile: Nested, Fabric: Neutron,
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := New(o, &got).Plan(); err != nil {
		t.Fatal(err)
	}
	compare(t, "testdata/plan-nested.golden", got)
}

// Mixed adds components for one host. It changes no component that runs already.
func TestMixedOnlyAdds(t *testing.T) {
	o := Options{
		Dir: "/run/isthmus-plan", Underlay: underlay, Repo: "/src/isthmus", KubeBin: "/cache/kubernetes", CacheDir: "/cache",
		Nodes: 2, VMs: 1, OpenStack: true, Octavia: true, Isthmus: true, Profile: Nested, Fabric: Neutron,
	}
	before := New(o, nil)
	o.Mixed = true
	after := New(o, nil)
	if err := o.Validate(); err != nil || !after.canBecome(before.Options) || before.canBecome(o) {
		t.Errorf("%v: mixed fits %v, and back %v", err, after.canBecome(before.Options), before.canBecome(o))
	}
	argv := map[string][]string{}
	for _, c := range components(t, before) {
		argv[c.Name] = c.Argv
	}
	var added []string
	for _, c := range components(t, after) {
		was, known := argv[c.Name]
		if !known {
			added = append(added, c.Name)
		} else if diff := cmp.Diff(was, c.Argv); diff != "" {
			t.Errorf("%s would be started anew: %s", c.Name, diff)
		}
	}
	slices.Sort(added)
	if diff := cmp.Diff([]string{"node2/containerd", "node2/images", "node2/kubelet"}, added); diff != "" {
		t.Error(diff)
	}
}

func components(t *testing.T, l *Lab) []supervise.Component {
	t.Helper()
	all, err := l.Components()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func compare(t *testing.T, golden string, got bytes.Buffer) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("run with -update if that is meant:\n%s", diff)
	}
}

func TestValidateRefuses(t *testing.T) {
	good := Options{Dir: Dir, Underlay: underlay, Repo: "/src", Nodes: 1, Profile: SharedOVN}
	for name, change := range map[string]func(*Options){
		"no nodes":             func(o *Options) { o.Nodes = 0 },
		"machines, no Neutron": func(o *Options) { o.VMs = 1 },
		"unknown profile":      func(o *Options) { o.Profile = "x" },
		"a system directory":   func(o *Options) { o.Dir = "/run" },
		"a relative directory": func(o *Options) { o.Dir = "lab/a/b" },
		"pods on no Octavia":   func(o *Options) { o.Profile, o.OpenStack = Neutron, true },
		"nested in nothing":    func(o *Options) { o.Profile, o.Fabric = Nested, OVN },
		"an unknown fabric": func(o *Options) {
			o.Profile, o.OpenStack, o.Octavia, o.Fabric = Nested, true, true, "x"
		},
		"mixed of one kind":  func(o *Options) { o.Mixed = true },
		"a small underlay":   func(o *Options) { o.Underlay = netip.MustParsePrefix("172.31.0.0/28") },
		"an address for one": func(o *Options) { o.Underlay = netip.MustParsePrefix("172.31.0.1/24") },
		"no source tree":     func(o *Options) { o.Isthmus, o.Repo = true, "" },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			change(&o)
			if o.Validate() == nil {
				t.Errorf("accepted %+v", o)
			}
		})
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestEnvNamesTheClouds(t *testing.T) {
	o := Options{Dir: Dir, Underlay: underlay, KubeBin: "/kube", Nodes: 1, OpenStack: true}
	want := `export PATH="/run/isthmus-lab/bin:/kube:$PATH"
export KUBECONFIG="/run/isthmus-lab/kube/admin.kubeconfig"
export OVN_NB_DB="tcp:172.31.0.1:6641"
export OVN_SB_DB="tcp:172.31.0.1:6642"
export OS_CLIENT_CONFIG_FILE="/run/isthmus-lab/openstack/clouds.yaml"
export OS_CLOUD="admin"
`
	if diff := cmp.Diff(want, New(o, nil).Env()); diff != "" {
		t.Error(diff)
	}
}
