// Package decidetest has what the tests of decide and of its subpackages share:
// objects as a user creates them, addresses, and checks of a decision.
package decidetest

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Router is the name of a Vpc that is a Neutron router.
const Router = "neutron-22040ed5"

// Compare compares addresses and prefixes as values.
var Compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// Prefix parses a prefix. It panics if it is invalid.
func Prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// Addr parses an address. It panics if it is invalid.
func Addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func meta(name string) metav1.ObjectMeta {
	// Objects are created in alphabetical order, in whole seconds as in
	// Kubernetes.
	age := time.Date(2026, 1, 1, 0, 0, int(name[0]), 0, time.UTC)
	return metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.NewTime(age)}
}

// Subnet returns a Subnet on fabric ovn. Subnets are created in alphabetical
// order.
func Subnet(name, vpc, cidr string, namespaces ...string) *v1.Subnet {
	return &v1.Subnet{ObjectMeta: meta(name), Spec: v1.SubnetSpec{Vpc: vpc, CIDRBlock: cidr, Namespaces: namespaces, Provider: "ovn"}}
}

// ReadySubnet returns a ready Subnet of Vpc Router for namespace a.
func ReadySubnet(name, provider string) *v1.Subnet {
	s := Subnet(name, Router, "10.1.0.0/24", "a")
	s.Spec.Provider = provider
	s.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
	return s
}

// Vpc returns a Vpc for these namespaces.
func Vpc(name string, namespaces ...string) *v1.Vpc {
	return &v1.Vpc{ObjectMeta: meta(name), Spec: v1.VpcSpec{Namespaces: namespaces}}
}

// Reason returns the reason of an intent.Wait or an intent.Stop, the text of any
// other error, and the empty string for nil.
func Reason(err error) string {
	var w intent.Wait
	var s intent.Stop
	switch {
	case errors.As(err, &w):
		return w.Reason
	case errors.As(err, &s):
		return s.Reason
	case err != nil:
		return err.Error()
	}
	return ""
}

// Parts returns a decision's want, report and problem. The want is empty if the
// decision keeps what exists.
func Parts[R any](d intent.Decision[R]) (intent.Want, R, error) {
	want, _ := d.Want()
	return want, d.Report(), d.Problem()
}

// Keeps fails the test unless d keeps what exists, with that reason.
func Keeps[R any](t *testing.T, name string, d intent.Decision[R], why string) {
	t.Helper()
	if want, called := d.Want(); called || !want.Empty() || Reason(d.Problem()) != why {
		t.Errorf("%s: it is to be %+v (%v): %v", name, want, called, d.Problem())
	}
}

// CIDRs are the prefixes of the Subnets that Leases knows. Some overlap.
var CIDRs = map[string]string{"join": "100.64.0.0/28", "ovn-default": "10.16.0.0/29", "a": "12.0.1.0/29", "b": "12.0.0.0/16", "c": "12.0.1.0/30", "blue": "10.1.0.0/24"}

// Leases gives out the lowest free address. The code under test must not depend
// on that order. The value of an address is "<subnet> <unit>".
type Leases map[netip.Addr]string

// Held returns the addresses that the unit has in the Subnet.
func (l Leases) Held(subnet string, u intent.Unit) []netip.Addr {
	for a, holder := range l {
		if holder == subnet+" "+string(u) {
			return []netip.Addr{a}
		}
	}
	return nil
}

// Next gives one address. If called again, it returns the same address.
func (l Leases) Next(subnet string, u intent.Unit) ([]netip.Addr, error) {
	if held := l.Held(subnet, u); held != nil {
		return held, nil
	}
	for a := Prefix(CIDRs[subnet]).Addr().Next().Next(); Prefix(CIDRs[subnet]).Contains(a.Next()); a = a.Next() {
		if l[a] == "" {
			l[a] = subnet + " " + string(u)
			return []netip.Addr{a}, nil
		}
	}
	return nil, intent.Wait{Reason: "NoAddress", For: "an address"}
}

// Claim gives the unit the first of addrs.
func (l Leases) Claim(subnet string, u intent.Unit, addrs []netip.Addr) error {
	if holder := l[addrs[0]]; holder != "" && holder != subnet+" "+string(u) {
		return intent.Wait{Reason: "AddressTaken", For: holder}
	}
	l[addrs[0]] = subnet + " " + string(u)
	return nil
}

// Free releases all addresses of the unit.
func (l Leases) Free(u intent.Unit) {
	maps.DeleteFunc(l, func(_ netip.Addr, holder string) bool { return strings.HasSuffix(holder, " "+string(u)) })
}
