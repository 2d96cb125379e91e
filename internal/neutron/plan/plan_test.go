package plan

import (
	"errors"
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

// net2 is the network of the pods in these tests.
var net2 = Network{ID: "N", MTU: 1442, Subnets: []Subnet{
	{ID: "S4", Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1")},
}}

func known() Dependencies {
	return Dependencies{
		Project: "P", Networks: map[string]Network{"net2": net2}, Groups: map[string]string{"np.db": "G-DB"},
		DefaultGroups: map[string]string{"P": "G"}, PortSecurity: true, Binding: true,
	}
}

// wanted returns a unit's wanted objects.
func wanted(t *testing.T, u intent.Unit, w intent.Want) []Object {
	t.Helper()
	objects, err := Translate(Owner{Name: "c1", Unit: u}, w, known())
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// applied returns objects as Neutron shows them after the plan.
func applied(objects []Object) []Object {
	ids := map[Ref]string{}
	for _, o := range objects {
		ids[Ref{Kind: o.Kind, Name: o.Name}] = strings.ToUpper(string(o.Kind)) + "-" + o.Name
	}
	var out []Object
	for _, o := range objects {
		f := Fields{}
		for k, v := range o.Fields {
			f[k] = v
			if r, is := v.(Ref); is {
				f[k] = ids[r]
			}
		}
		out = append(out, Object{Kind: o.Kind, Name: o.Name, ID: ids[Ref{Kind: o.Kind, Name: o.Name}], Tags: o.Tags, Fields: f})
	}
	return Named(out)
}

func change(objects []Object, k Kind, field string, v any) []Object {
	for i, o := range objects {
		if o.Kind == k {
			objects[i].Fields[field] = v
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
	duplicates := append(applied(pod), applied(pod)...)
	duplicates[1].ID = "AN-OTHER"
	untagged := applied(pod)
	untagged[0].Tags = []string{"somebody's"}
	pooledPort := applied(pod)
	pooledPort[0].Name, pooledPort[0].Tags = PooledName, Owner{Name: "c1", Unit: "pool/node1"}.Tags()
	pooledPort[0].Fields["name"], pooledPort[0].Fields["device_id"], pooledPort[0].Fields["description"] = PooledName, "", Owner{Name: "c1", Unit: "pool/node1"}.Description()
	pooledPort[0].Fields["fixed_ips"] = FixedIPs{{Subnet: "S4", Addr: "10.9.0.33"}}
	ruled := append(applied(policy), Object{Kind: KindRule, ID: "EGRESS", Fields: Fields{
		"security_group_id": "SECURITY_GROUP-np.web", "direction": "egress", "ethertype": "IPv4",
	}})

	var out strings.Builder
	for _, c := range []struct {
		name         string
		have, want   []Object
		tagsOnCreate TagsOnCreate
	}{
		{"a subnet is made", nil, subnet, nil},
		{"a subnet is there", applied(subnet), subnet, nil},
		{"a subnet goes", applied(subnet), nil, nil},
		{"half of a subnet is there", applied(subnet)[:2], subnet, nil},
		{"a subnet has another gateway", change(applied(subnet), KindSubnet, "gateway_ip", "10.9.0.254"), subnet, nil},
		{"a subnet has another range", change(applied(subnet), KindSubnet, "cidr", "10.10.0.0/24"), subnet, nil},
		{"a port is in another project", change(applied(pod), KindPort, "project_id", "another"), pod, nil},
		{"a port is made", nil, pod, nil},
		{"a port is made with its tags", nil, pod, TagsOnCreate{KindPort: true}},
		{"a port is there", applied(pod), pod, nil},
		{"a port was made twice", duplicates, pod, nil},
		{"a port died before it had its tags", untagged, pod, nil},
		{"a port comes from the pool", pooledPort, pod, nil},
		{"a pod is on another node", applied(pod), moved, nil},
		{"a pod has an address and a MAC of its own", applied(pod), wanted(t, "pod/ns/a", static), nil},
		{"a policy is made", nil, policy, nil},
		{"a policy is there, with a rule that nobody asked for", Named(ruled), policy, nil},
		{"a policy goes, and its rules with it", applied(policy), nil, nil},
	} {
		fmt.Fprintf(&out, "# %s\n", c.name)
		for _, s := range Diff(c.have, c.want, c.tagsOnCreate) {
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
	bare.Binding, bare.PortSecurity = false, false
	for _, c := range []struct {
		want   intent.Want
		deps   Dependencies
		reason string
	}{
		{intent.Want{Routers: []intent.Router{{Name: "r"}}}, known(), "NotSupported"},
		{intent.Want{RoutePolicies: []intent.RoutePolicy{{Router: "r"}}}, known(), "NotSupported"},
		{intent.Want{LoadBalancers: []intent.LoadBalancer{{Name: "b"}}}, known(), "NotSupported"},
		{intent.Want{RouterInterfaces: []intent.RouterInterface{{Network: "theirs", Router: "r"}}}, known(), "NotOurs"},
		{port(intent.Port{Name: "p", Network: "unknown"}), known(), "WaitingForNetwork"},
		{port(intent.Port{Name: "p", Network: "net2", Groups: []string{"unknown"}}), known(), "WaitingForGroup"},
		{port(intent.Port{Name: "p", Network: "net2", Groups: []string{"np.db"}, UnknownAddresses: true}), known(), "InvalidSpec"},
		{port(intent.Port{Name: "p", Network: "net2", UnknownAddresses: true}), bare, "NotSupported"},
		{port(intent.Port{Name: "p", Network: "net2", Node: "node1"}), bare, "NotSupported"},
		{intent.Want{Ports: []intent.Port{{Name: "p", Network: "net2"}, {Name: "p", Network: "net2"}}}, known(), "NameTaken"},
	} {
		if _, err := Translate(Owner{Name: "c1", Unit: "pod/ns/a"}, c.want, c.deps); reason(err) != c.reason {
			t.Errorf("%+v: %v, want %s", c.want, err, c.reason)
		}
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	long := intent.Unit("pod/" + strings.Repeat("n", 63) + "/" + strings.Repeat("p", 253))
	for _, u := range []intent.Unit{"pod/ns/a", "subnet/net2", long} {
		m := Owner{Name: "c1", Unit: u}
		for _, s := range append(m.Tags(), m.Description()) {
			if len(s) > 255 {
				t.Errorf("%q is too long for Neutron", s)
			}
		}
		tagged := Object{Tags: append(m.Tags(), "somebody's"), Fields: Fields{"description": "anything"}}
		if got, ours := UnitOf("c1", tagged); got != u || !ours || !m.Owns(tagged) {
			t.Errorf("%v is read as %s, ours: %v", tagged.Tags, got, ours)
		}
		untagged := Object{Fields: Fields{"description": m.Description()}}
		if _, ours := UnitOf("c1", untagged); !ours || !m.Owns(untagged) {
			t.Errorf("%s is not known by its description", u)
		}
		for _, other := range []Object{
			{Tags: Owner{Name: "c2", Unit: u}.Tags(), Fields: untagged.Fields}, // the tags count
			{Tags: Owner{Name: "c11", Unit: u}.Tags()},
			{Fields: Fields{"description": "isthmus-owner=c11,isthmus-unit=" + string(u)}},
			{},
		} {
			if _, ours := UnitOf("c1", other); ours || m.Owns(other) {
				t.Errorf("%+v is taken for ours", other)
			}
		}
	}
	if a, b := openstack.Shorten(strings.Repeat("x", 300)+"a"), openstack.Shorten(strings.Repeat("x", 300)+"b"); a == b || len(a) != 255 {
		t.Errorf("%q and %q", a, b)
	}
}

func subnetWant(router string) intent.Want {
	w := intent.Want{Networks: []intent.Network{{
		Name: "net2", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("fd09::/64")},
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

func policyWant() intent.Want {
	return intent.Want{Groups: []intent.Group{{Name: "np.web", Rules: []intent.Rule{
		{Direction: intent.Ingress, Protocol: "tcp", First: 80, Last: 80},
		{Direction: intent.Ingress, RemoteGroup: "np.web"},
	}}}}
}

// reason returns the reason of an intent.Wait or intent.Stop, empty for other errors.
func reason(err error) string {
	if wait, ok := errors.AsType[intent.Wait](err); ok {
		return wait.Reason
	}
	if stop, ok := errors.AsType[intent.Stop](err); ok {
		return stop.Reason
	}
	return ""
}
