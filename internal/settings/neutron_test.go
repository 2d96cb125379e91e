package settings

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

const always = "nbAddresses: [tcp:127.0.0.1:6641]\napiServers: [127.0.0.1:6443]\n"

func TestNeutron(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte(always + "neutron: {router: r, default: true, podCIDR: 10.1.0.0/16, pool: {max: 9}}"))
	if err != nil {
		t.Fatal(err)
	}
	n := s.Neutron
	if n.Cloud != "k8s" || n.CloudsFile != CloudsFile || *n.Pool.Min != 5 || n.Pool.Max != 9 || n.Pool.Batch != 5 || n.LoadBalancerProvider != "ovn" || s.Overlay() || n.LookEvery.Duration != time.Minute {
		t.Errorf("%+v", n)
	}
	if s, err := Parse([]byte(always + "neutron: {pool: {min: 0}}")); err != nil || *s.Neutron.Pool.Min != 0 || !s.Overlay() {
		t.Error(err, s.Neutron)
	}
	if s, err := Parse([]byte(always)); err != nil || s.Neutron != nil || !s.Overlay() {
		t.Error(err)
	}
}

func TestNeutronRefused(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte(always + "neutron: {lookEvery: -1s, default: true, pool: {min: 9, max: 3}, securityGroups: ['']}"))
	for _, part := range []string{"neutron.router", "neutron.podCIDR", "min 9 is more than max 3", "securityGroups", "lookEvery"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	_, err = Parse([]byte(always + "neutron: {podNetwork: a, serviceNetwork: a}"))
	for _, part := range []string{"neutron.default only", "another network"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	if _, err := Parse([]byte(always + "neutron: {ruter: r}")); err == nil || !strings.Contains(err.Error(), "ruter") {
		t.Error(err)
	}
}

func TestSubnetPerNamespace(t *testing.T) {
	t.Parallel()
	const neutron = always + "neutron: {router: r, default: true, podCIDR: 10.1.0.0/16, subnetPerNamespace: "
	s, err := Parse([]byte(neutron + "{subnetPool: pool}}"))
	if err != nil {
		t.Fatal(err)
	}
	selector, err := s.Neutron.SubnetPerNamespace.Selector()
	if err != nil || s.Neutron.SubnetPerNamespace.PrefixLength != 24 {
		t.Errorf("%v: %+v", err, s.Neutron.SubnetPerNamespace)
	}
	for name, has := range map[string]bool{"kube-system": false, "default": true} {
		if selector.Matches(labels.Set{"kubernetes.io/metadata.name": name}) != has {
			t.Errorf("namespace %s has a Subnet: %v", name, !has)
		}
	}
	for text, part := range map[string]string{
		neutron + "{}}": "subnetPool",
		neutron + "{subnetPool: p, prefixLength: 2}}":                     "prefixLength: 2",
		neutron + "{subnetPool: p, namespaces: {matchLabels: {a b: c}}}}": "namespaces",
		neutron + "{subnetPool: p, prefix: 24}}":                          "prefix",
		always + "neutron: {subnetPerNamespace: {subnetPool: p}}":         "neutron.default only",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v does not say %q", text, err, part)
		}
	}
}
