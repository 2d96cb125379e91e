package kubetest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

var server *Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if server, err = Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Stop() }()
	return m.Run()
}

// Each row is a spec. bad is a part of the server's answer; empty means that the server must
// accept the object.
var specs = []struct{ name, kind, spec, bad string }{
	{"the seed's", "Subnet", "vpc: neutron-22040ed5\nnamespaces: [net2]\ncidrBlock: 12.0.1.0/24\nnatOutgoing: false", ""},
	{"least", "Subnet", "cidrBlock: 12.0.1.0/24", ""},
	{"v6", "Subnet", "cidrBlock: fd00::/64", ""},
	{"dual", "Subnet", "cidrBlock: 12.0.1.0/24,fd00::/64\ngateway: 12.0.1.1,fd00::1", ""},
	{"excluded", "Subnet", "cidrBlock: 12.0.1.0/24\nexcludeIps: [12.0.1.2, 12.0.1.9..12.0.1.20]", ""},
	{"refused fields at their zero value", "Subnet", "cidrBlock: 12.0.1.0/24\nprivate: false\nvlan: ''", ""},
	{"no CIDR", "Subnet", "vpc: a", "spec.cidrBlock: Required"},
	{"host bits", "Subnet", "cidrBlock: 12.0.1.1/24", "without host bits"},
	{"not a CIDR", "Subnet", "cidrBlock: 12.0.1.0", "must be one or two network prefixes"},
	{"one family twice", "Subnet", "cidrBlock: 12.0.1.0/24,12.0.2.0/24", "one prefix of each family"},
	{"three", "Subnet", "cidrBlock: 12.0.1.0/24,fd00::/64,12.0.2.0/24", "one prefix of each family"},
	{"gateway elsewhere", "Subnet", "cidrBlock: 12.0.1.0/24\ngateway: 12.0.2.1", "gateway must be an address in cidrBlock"},
	{"excluded nonsense", "Subnet", "cidrBlock: 12.0.1.0/24\nexcludeIps: [a..b]", "neither an address nor a range"},
	{"unknown fabric", "Subnet", "cidrBlock: 12.0.1.0/24\nprovider: vlan0", "Unsupported value"},
	{"private", "Subnet", "cidrBlock: 12.0.1.0/24\nprivate: true", "private is not supported"},
	{"vlan", "Subnet", "cidrBlock: 12.0.1.0/24\nvlan: v1", "vlan is not supported"},
	{"centralized", "Subnet", "cidrBlock: 12.0.1.0/24\ngatewayType: centralized", "Unsupported value"},
	{"small MTU", "Subnet", "cidrBlock: 12.0.1.0/24\nmtu: 100", "mtu must lie between"},
	{"unknown field", "Subnet", "cidrBlock: 12.0.1.0/24\nenableDHCP: true", "unknown field \"spec.enableDHCP\""},
	{"the seed's", "Vpc", "namespaces: [net2]", ""},
	{"empty", "Vpc", "{}", ""},
	{"routes", "Vpc", "staticRoutes: [{cidr: 0.0.0.0/0, nextHopIP: 1.1.1.1}]", "staticRoutes is not supported"},
	{"external", "Vpc", "enableExternal: true", "enableExternal is not supported"},
	{"peering", "Vpc", "vpcPeerings: [{remoteVpc: b}]", "vpcPeerings is not supported"},
	{"a claim", "IP", "podUID: u\nsubnet: net2\nmacAddress: 02:00:0c:00:01:02\nmtu: 1442\nattach: {ovs: {ifaceID: a.net2}}", ""},
	{"no way to attach", "IP", "podUID: u\nsubnet: net2\nmacAddress: 02:00:0c:00:01:02\nmtu: 1442\nattach: {}", "exactly one of ovs and vlan"},
}

func TestSchema(t *testing.T) {
	c := newClient(t)
	for _, row := range specs {
		t.Run(row.kind+" "+row.name, func(t *testing.T) {
			err := c.Create(t.Context(), object(t, row.kind, row.spec), client.DryRunAll, client.FieldValidation("Strict"))
			check(t, err, row.bad)
		})
	}
}

func TestWhatMayChange(t *testing.T) {
	c := newClient(t)
	subnet := object(t, "Subnet", "cidrBlock: 12.0.1.0/24")
	if err := c.Create(t.Context(), subnet); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ patch, bad string }{
		{`{"spec":{"namespaces":["a"],"excludeIps":["12.0.1.7"]}}`, ""},
		{`{"spec":{"cidrBlock":"12.0.2.0/24"}}`, "cidrBlock is immutable"},
		{`{"spec":{"vpc":"other"}}`, "vpc is immutable"},
		{`{"spec":{"provider":"neutron"}}`, "provider is immutable"},
		{`{"spec":{"gateway":"12.0.1.9"}}`, "gateway is immutable"},
	} {
		t.Run(row.patch, func(t *testing.T) {
			check(t, c.Patch(t.Context(), subnet.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(row.patch))), row.bad)
		})
	}
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	c, err := client.New(server.Config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func object(t *testing.T, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "kubeovn.io/v1", "kind": kind}}
	u.SetName("a")
	var s map[string]any
	if err := yaml.Unmarshal([]byte(spec), &s); err != nil {
		t.Fatal(err)
	}
	u.Object["spec"] = s
	return u
}

func check(t *testing.T, err error, bad string) {
	t.Helper()
	switch {
	case bad == "" && err != nil:
		t.Errorf("refused: %v", err)
	case bad != "" && err == nil:
		t.Errorf("taken, and should be refused with %q", bad)
	case bad != "" && !strings.Contains(err.Error(), bad):
		t.Errorf("refused with %v, which lacks %q", err, bad)
	}
}
