package neutron

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Each answer of Neutron to a real call has the expected class.
func TestClassifyError(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := start(t, c, nil)
	apply(t, f, "subnet/net2", subnetWant(""))
	apply(t, f, "pod/ns/old", podWant("ns/old", "node1"))
	for _, k := range []struct {
		method string
		fault  neutrontest.Fault
		reason string // "" for a plain error, "nil" for no error
	}{
		{"POST", neutrontest.Fault{Code: 409, Word: "OverQuota", Text: "Quota exceeded for resources: ['port']."}, "QuotaExceeded"},
		{"POST", neutrontest.Fault{Code: 409, Word: "IpAddressGenerationFailure", Text: "No more."}, "SubnetFull"},
		{"POST", neutrontest.Fault{Code: 409, Word: "IpAddressAlreadyAllocated", Text: "Taken."}, "AddressTaken"},
		{"POST", neutrontest.Fault{Code: 409, Word: "MacAddressInUse", Text: "Taken."}, "AddressTaken"},
		{"POST", neutrontest.Fault{Code: 409, Word: "PortBound", Text: "Bound."}, "Refused"},
		{"POST", neutrontest.Fault{Code: 400, Word: "HTTPBadRequest", Text: "Bad."}, "Refused"},
		{"POST", neutrontest.Fault{Code: 403, Word: "PolicyNotAuthorized", Text: "Not you."}, "Forbidden"},
		{"POST", neutrontest.Fault{Code: 404, Word: "NetworkNotFound", Text: "Gone."}, "NotFound"},
		{"POST", neutrontest.Fault{Code: 500}, ""},
		{"POST", neutrontest.Fault{Code: 503}, ""},
		{"POST", neutrontest.Fault{Code: 504}, ""},
		{"POST", neutrontest.Fault{}, ""},
		{"DELETE", neutrontest.Fault{Code: 404, Word: "PortNotFound", Text: "Gone."}, "nil"},
		{"DELETE", neutrontest.Fault{Code: 409, Word: "PortInUse", Text: "In use."}, "InUse"},
		{"DELETE", neutrontest.Fault{Code: 503}, ""},
	} {
		c.Fail(func(_ int, r *http.Request) *neutrontest.Fault {
			if r.Method == k.method {
				return &k.fault
			}
			return nil
		})
		unit, want := intent.Unit("pod/ns/new"), podWant("ns/new", "node1")
		if k.method == "DELETE" {
			unit, want = "pod/ns/old", intent.Want{}
		}
		_, err := f.Apply(t.Context(), unit, want)
		switch {
		case (err == nil) != (k.reason == "nil"), err != nil && reason(err) != k.reason:
			t.Errorf("%s %+v: %v", k.method, k.fault, err)
		case err != nil && !strings.Contains(err.Error(), strings.TrimSuffix(k.fault.Text, ".")):
			t.Errorf("%v does not say what Neutron said: %s", err, k.fault.Text)
		case err != nil && !strings.Contains(err.Error(), "port ns/"):
			t.Errorf("%v does not say what it is about", err)
		}
		if k.reason == "nil" {
			c.Fail(nil)
			apply(t, f, "pod/ns/old", podWant("ns/old", "node1"))
		}
	}
}

// An expired token is replaced. A changed password is an error, and no message contains
// it.
func TestCredentials(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := start(t, c, nil)
	apply(t, f, "subnet/net2", subnetWant(""))
	c.Expire()
	apply(t, f, "pod/ns/a", podWant("ns/a", "node1"))
	c.Revoke()
	for _, f := range []*Fabric{f, start(t, c, nil)} {
		_, err := f.Apply(t.Context(), "pod/ns/b", podWant("ns/b", "node1"))
		if reason(err) != "BadCredentials" {
			t.Error(err)
		}
		if err != nil && strings.Contains(err.Error(), neutrontest.Secret) {
			t.Errorf("the password is told: %v", err)
		}
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := start(t, c, nil)
	apply(t, f, "subnet/net2", subnetWant(""))
	c.Fail(func(int, *http.Request) *neutrontest.Fault { return &neutrontest.Fault{Slow: 100 * time.Millisecond} })
	apply(t, f, "pod/ns/a", podWant("ns/a", "node1"))
	c.Fail(func(int, *http.Request) *neutrontest.Fault { return &neutrontest.Fault{Slow: time.Hour} })
	ctx, cancel := timeout(t, 50*time.Millisecond)
	defer cancel()
	if _, err := f.Apply(ctx, "pod/ns/b", podWant("ns/b", "node1")); err == nil || openstack.IsOutcome(err) {
		t.Errorf("of a Neutron that does not answer: %v", err)
	}
}

func TestMissingExtensions(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	for _, needed := range []string{client.ExtTags, client.ExtDescription, client.ExtGroups, client.ExtRouters} {
		c.Lack(needed)
		_, err := start(t, c, nil).Apply(t.Context(), "subnet/net2", subnetWant(""))
		if err == nil || !strings.Contains(err.Error(), needed) {
			t.Error(err)
		}
		c.Extend(needed)
	}
	c.Lack(client.ExtPortSecurity)
	f := start(t, c, nil)
	apply(t, f, "subnet/net2", subnetWant(""))
	apply(t, f, "pod/ns/a", podWant("ns/a", "node1")) // does not need port security
	if c.Names("ports")[0] != "ns/a" {
		t.Error(c.Names("ports"))
	}
	var stop intent.Stop
	w := podWant("ns/b", "node1")
	w.Ports[0].UnknownAddresses = true
	if _, err := f.Apply(t.Context(), "pod/ns/b", w); !errors.As(err, &stop) {
		t.Error(err)
	}
}
