package neutron

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

var updateGolden = flag.Bool("update", false, "write testdata/plan.golden anew")

// net2 is where the pods of these tests are.
var net2 = Segment{ID: "N", MTU: 1442, Subnets: []Subnet{
	{ID: "S4", Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1")},
}}

func known() around {
	return around{
		project: "P", segments: map[string]Segment{"net2": net2}, groups: map[string]string{"np.db": "G-DB"},
		standard: map[string]string{"P": "G"}, portSecurity: true, binding: true,
	}
}

// wanted are a unit's objects.
func wanted(t *testing.T, u intent.Unit, w intent.Want) []object {
	t.Helper()
	objects, err := translate(mark{"c1", u}, w, known())
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// done are objects as they are once a plan is done.
func done(objects []object) []object {
	ids := map[ref]string{}
	for _, o := range objects {
		ids[ref{o.kind, o.name}] = strings.ToUpper(string(o.kind)) + "-" + o.name
	}
	var out []object
	for _, o := range objects {
		f := fields{}
		for k, v := range o.fields {
			f[k] = v
			if r, is := v.(ref); is {
				f[k] = ids[r]
			}
		}
		out = append(out, object{kind: o.kind, name: o.name, id: ids[ref{o.kind, o.name}], tags: o.tags, fields: f})
	}
	return named(out)
}

func change(objects []object, k kind, field string, v any) []object {
	for i, o := range objects {
		if o.kind == k {
			objects[i].fields[field] = v
		}
	}
	return objects
}

func TestPlan(t *testing.T) {
	t.Parallel()
	subnet := wanted(t, "subnet/net2", subnetWant("R"))
	pod := wanted(t, "pod/ns/a", podWant("ns/a", "node1"))
	policy := wanted(t, "policy/ns/web", policyWant())
	moved := wanted(t, "pod/ns/a", podWant("ns/a", "node2"))
	static := podWant("ns/a", "node1")
	static.Ports[0].Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.9")}
	static.Ports[0].MAC = "02:00:00:00:00:09"
	twice := append(done(pod), done(pod)...)
	twice[1].id = "AN-OTHER"
	untagged := done(pod)
	untagged[0].tags = []string{"somebody's"}
	pooledPort := done(pod)
	pooledPort[0].name, pooledPort[0].tags = pooledName, mark{"c1", "pool/node1"}.tags()
	pooledPort[0].fields["name"], pooledPort[0].fields["device_id"], pooledPort[0].fields["description"] = pooledName, "", mark{"c1", "pool/node1"}.description()
	pooledPort[0].fields["fixed_ips"] = fixedIPs{{"S4", "10.9.0.33"}}
	ruled := append(done(policy), object{kind: kindRule, id: "EGRESS", fields: fields{
		"security_group_id": "SECURITY_GROUP-np.web", "direction": "egress", "ethertype": "IPv4",
	}})

	var out strings.Builder
	for _, c := range []struct {
		name       string
		have, want []object
		born       atBirth
	}{
		{"a subnet is made", nil, subnet, nil},
		{"a subnet is there", done(subnet), subnet, nil},
		{"a subnet goes", done(subnet), nil, nil},
		{"half of a subnet is there", done(subnet)[:2], subnet, nil},
		{"a subnet has another gateway", change(done(subnet), kindSubnet, "gateway_ip", "10.9.0.254"), subnet, nil},
		{"a subnet has another range", change(done(subnet), kindSubnet, "cidr", "10.10.0.0/24"), subnet, nil},
		{"a port is in another project", change(done(pod), kindPort, "project_id", "another"), pod, nil},
		{"a port is made", nil, pod, nil},
		{"a port is made with its tags", nil, pod, atBirth{kindPort: true}},
		{"a port is there", done(pod), pod, nil},
		{"a port was made twice", twice, pod, nil},
		{"a port died before it had its tags", untagged, pod, nil},
		{"a port comes from the pool", pooledPort, pod, nil},
		{"a pod is on another node", done(pod), moved, nil},
		{"a pod has an address and a MAC of its own", done(pod), wanted(t, "pod/ns/a", static), nil},
		{"a policy is made", nil, policy, nil},
		{"a policy is there, with a rule that nobody asked for", named(ruled), policy, nil},
		{"a policy goes, and its rules with it", done(policy), nil, nil},
	} {
		fmt.Fprintf(&out, "# %s\n", c.name)
		for _, s := range diff(c.have, c.want, c.born) {
			fmt.Fprintln(&out, s)
		}
		fmt.Fprintln(&out)
	}
	golden(t, out.String())
}

func golden(t *testing.T, got string) {
	t.Helper()
	file := filepath.Join("testdata", "plan.golden")
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if diff := cmp.Diff(string(want), got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestTranslateRefuses(t *testing.T) {
	t.Parallel()
	port := func(p intent.Port) intent.Want { return intent.Want{Ports: []intent.Port{p}} }
	bare := known()
	bare.binding, bare.portSecurity = false, false
	for _, c := range []struct {
		want   intent.Want
		around around
		reason string
	}{
		{intent.Want{Routers: []intent.Router{{Name: "r"}}}, known(), "NotSupported"},
		{intent.Want{RoutePolicies: []intent.RoutePolicy{{Router: "r"}}}, known(), "NotSupported"},
		{intent.Want{LoadBalancers: []intent.LoadBalancer{{Name: "b"}}}, known(), "NotSupported"},
		{intent.Want{RouterInterfaces: []intent.RouterInterface{{Network: "theirs", Router: "r"}}}, known(), "NotOurs"},
		{port(intent.Port{Name: "p", Network: "unknown"}), known(), "WaitingForSegment"},
		{port(intent.Port{Name: "p", Network: "net2", Groups: []string{"unknown"}}), known(), "WaitingForGroup"},
		{port(intent.Port{Name: "p", Network: "net2", Groups: []string{"np.db"}, UnknownAddresses: true}), known(), "InvalidSpec"},
		{port(intent.Port{Name: "p", Network: "net2", UnknownAddresses: true}), bare, "NotSupported"},
		{port(intent.Port{Name: "p", Network: "net2", Node: "node1"}), bare, "NotSupported"},
		{intent.Want{Ports: []intent.Port{{Name: "p", Network: "net2"}, {Name: "p", Network: "net2"}}}, known(), "NameTaken"},
	} {
		if _, err := translate(mark{"c1", "pod/ns/a"}, c.want, c.around); reason(err) != c.reason {
			t.Errorf("%+v: %v, want %s", c.want, err, c.reason)
		}
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	long := intent.Unit("pod/" + strings.Repeat("n", 63) + "/" + strings.Repeat("p", 253))
	for _, u := range []intent.Unit{"pod/ns/a", "subnet/net2", long} {
		m := mark{"c1", u}
		for _, s := range append(m.tags(), m.description()) {
			if len(s) > 255 {
				t.Errorf("%q is too long for Neutron", s)
			}
		}
		tagged := object{tags: append(m.tags(), "somebody's"), fields: fields{"description": "anything"}}
		if got, ours := unitOf("c1", tagged); got != u || !ours || !m.has(tagged) {
			t.Errorf("%v is read as %s, ours: %v", tagged.tags, got, ours)
		}
		born := object{fields: fields{"description": m.description()}}
		if _, ours := unitOf("c1", born); !ours || !m.has(born) {
			t.Errorf("%s is not known by its description", u)
		}
		for _, other := range []object{
			{tags: mark{"c2", u}.tags(), fields: born.fields}, // the tags count
			{tags: mark{"c11", u}.tags()},
			{fields: fields{"description": "isthmus-owner=c11,isthmus-unit=" + string(u)}},
			{},
		} {
			if _, ours := unitOf("c1", other); ours || m.has(other) {
				t.Errorf("%+v is taken for ours", other)
			}
		}
	}
	if a, b := openstack.Shorten(strings.Repeat("x", 300)+"a"), openstack.Shorten(strings.Repeat("x", 300)+"b"); a == b || len(a) != 255 {
		t.Errorf("%q and %q", a, b)
	}
}
