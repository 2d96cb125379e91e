package octavia

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/listeners"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
)

// The fake Octavia keeps the contract. TestContractReal checks the same cases with a real
// one.
func TestContract(t *testing.T) {
	t.Parallel()
	contract(t, contractCloud{
		options: Options{
			Owner: "contract", Cloud: "test", CloudsFile: octaviatest.New(t).CloudsFile, ApplyTimeout: 20 * time.Second,
			Subnet: func(network string, _ netip.Addr) (string, error) { return "subnet-" + network, nil },
		},
		services: octaviatest.Services, external: octaviatest.External,
	})
}

// contractCloud is an OpenStack for the contract. It has networks "pods" (10.222.0.0/16)
// and "services" (10.223.0.0/16). The latter is on a router with a gateway on the
// external network.
type contractCloud struct {
	options Options
	// services is the id of the subnet of network "services", external the id of the
	// external network's.
	services, external string
}

func contract(t *testing.T, cloud contractCloud) {
	t.Helper()
	f := New(cloud.options)
	if _, err := f.Units(t.Context()); err != nil { // signs in
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteContract(t, f) })
	contractCrashes(t, f, cloud)
	contractLife(t, f)
	contractOtherOwner(t, f, cloud)
	contractDrift(t, f)
	contractFloatingIPs(t, f, cloud)
	contractClear(t, f, cloud)
}

// deleteContract deletes what a failed test has left. The test's context has ended by
// then.
func deleteContract(t *testing.T, f *Fabric) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := applyPauses.Until(ctx, func(ctx context.Context) error {
		_, err := f.Clear(ctx)
		return err
	}, nil); err != nil {
		t.Error(err)
	}
}

// contractWant replaces the addresses in a want by those of the contract.
func contractWant(w intent.Want) intent.Want {
	w.LoadBalancers[0].VIP = netip.MustParseAddr("10.223.0.20")
	return w
}

func podMembers(hosts ...string) []intent.Member {
	var addrs []string
	for _, h := range hosts {
		addrs = append(addrs, "10.222.0."+h)
	}
	return members(8080, addrs...)
}

// steadyWant is the last state of contractLife. The cases after it start from it, so that
// a real Octavia has little to change.
func steadyWant() intent.Want { return contractWant(web(tcp(80, podMembers("11", "12")))) }

// contractLife applies the changes in the life of a Service.
func contractLife(t *testing.T, f *Fabric) {
	t.Helper()
	dns := func(ms ...intent.Member) intent.Listener {
		return intent.Listener{Protocol: "UDP", Port: 80, Members: ms}
	}
	two := podMembers("11", "12")
	for _, s := range []struct {
		name string
		want intent.Want
	}{
		{"two protocols on one port", web(tcp(80, two), dns(podMembers("11")...))},
		{"other members", web(tcp(80, podMembers("12", "13")), dns())},
		{"one more member", web(tcp(80, podMembers("12", "13", "14")), dns())},
		{"one member less", web(tcp(80, podMembers("12", "13")), dns())},
		{"other ports", web(tcp(80, two), tcp(443, two), intent.Listener{Protocol: "SCTP", Port: 80, Members: two})},
		{"no ports", web()},
		{"a port again", web(tcp(80, two))},
	} {
		begin := time.Now()
		want := contractWant(s.want)
		have := apply(t, f, unit, want).LoadBalancers["default/web"]
		took := time.Since(begin)
		if diff := cmp.Diff(describe(want.LoadBalancers[0]), describeStatus(have)); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
		if have.ID == "" || have.Port == "" || have.Provider != "ovn" || have.VIP != want.LoadBalancers[0].VIP || have.FloatingIP != nil {
			t.Errorf("%s: %+v", s.name, have)
		}
		if again := apply(t, f, unit, want); again.Changed != 0 {
			t.Errorf("%s: applying it again made %d changes", s.name, again.Changed)
		}
		drifted(t, f, s.name)
		t.Logf("%s took %s", s.name, took.Round(time.Millisecond))
	}
}

// describe returns the listeners of an intent with their members, sorted.
func describe(b intent.LoadBalancer) []string {
	out := []string{}
	for _, l := range b.Listeners {
		for _, m := range l.Members {
			out = append(out, listenerName("", l)+" "+m.Addr.String())
		}
		out = append(out, listenerName("", l))
	}
	slices.Sort(out)
	return out
}

// describeStatus returns the same description of what Octavia has.
func describeStatus(b intent.LoadBalancerStatus) []string {
	want := intent.LoadBalancer{}
	for _, l := range b.Listeners {
		o := intent.Listener{Protocol: l.Protocol, Port: l.Port}
		for _, m := range l.Members {
			o.Members = append(o.Members, intent.Member{Addr: m.Addr})
		}
		want.Listeners = append(want.Listeners, o)
	}
	return describe(want)
}

// drifted checks which units Drifted returns.
func drifted(t *testing.T, f *Fabric, name string, want ...intent.Unit) {
	t.Helper()
	units, err := f.Drifted(t.Context())
	if err != nil || !slices.Equal(units, want) {
		t.Errorf("%s: drifted %v, want %v: %v", name, units, want, err)
	}
}

// contractCrashes interrupts the call that creates a load balancer, at its start and at
// its end. The load balancer that results is ours at the next read, and there is no
// other.
func contractCrashes(t *testing.T, f *Fabric, cloud contractCloud) {
	t.Helper()
	want := contractWant(web(tcp(80, podMembers("11"))))
	for name, transport := range map[string]func(http.RoundTripper) *crash{
		"when the call is sent":   func(next http.RoundTripper) *crash { return &crash{next: next, atRequest: true} },
		"when the answer is lost": func(next http.RoundTripper) *crash { return &crash{next: next} },
	} {
		dying := New(cloud.options)
		c, err := dying.session.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client := &c.octavia.HTTPClient
		crashing := transport(client.Transport)
		client.Transport = crashing
		if _, err := dying.Apply(t.Context(), unit, want); err == nil || !crashing.happened {
			t.Fatalf("the crash %s did not happen: %v", name, err)
		}
		begin := time.Now()
		apply(t, f, unit, want)
		t.Logf("after a crash %s it took %s", name, time.Since(begin).Round(time.Millisecond))
		if all := balancersOf(t, f, cloud); len(all) != 1 {
			t.Errorf("after a crash %s there are %d load balancers", name, len(all))
		}
		apply(t, f, unit, intent.Want{})
		if all := balancersOf(t, f, cloud); len(all) != 0 {
			t.Errorf("after a crash %s and a deletion there are %d load balancers", name, len(all))
		}
	}
}

func balancersOf(t *testing.T, f *Fabric, cloud contractCloud) []loadbalancers.LoadBalancer {
	t.Helper()
	all, err := f.session.Load().listLoadBalancers(t.Context(), loadbalancers.ListOpts{VipSubnetID: cloud.services})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(lb loadbalancers.LoadBalancer) bool { return lb.ProvisioningStatus == deleted })
}

// crash is a transport that breaks the call that creates a load balancer and all later
// calls: a dead process makes no calls.
type crash struct {
	next      http.RoundTripper
	atRequest bool // true: when the request is sent; false: when the answer comes
	happened  bool
}

var errCrash = errors.New("the process died")

func (c *crash) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.happened {
		return nil, errCrash
	}
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/loadbalancers") {
		return c.next.RoundTrip(r)
	}
	c.happened = true
	if c.atRequest {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		r = r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel() }}))
	}
	answer, err := c.next.RoundTrip(r)
	if err == nil { // the answer came, but is not read
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	return nil, errCrash
}

// contractOtherOwner applies the same address for another cluster: it waits, and changes
// nothing of ours.
func contractOtherOwner(t *testing.T, f *Fabric, cloud contractCloud) {
	t.Helper()
	apply(t, f, unit, steadyWant())
	cloud.options.Owner += "-other"
	other := New(cloud.options)
	_, err := other.Apply(t.Context(), unit, contractWant(web(tcp(443, nil))))
	if wait, is := errors.AsType[intent.Wait](err); !is || wait.Reason != "AddressTaken" || !strings.Contains(wait.For, "10.223.0.20") {
		t.Errorf("the other cluster got %v", err)
	}
	drifted(t, f, "after the other cluster's attempt")
	if units, err := other.Units(t.Context()); err != nil || len(units) != 0 {
		t.Errorf("the other cluster owns %v, %v", units, err)
	}
}

// contractDrift deletes a listener, and then the load balancer, as another client would.
func contractDrift(t *testing.T, f *Fabric) {
	t.Helper()
	want := steadyWant()
	c := f.session.Load()
	for name, remove := range map[string]func(intent.LoadBalancerStatus) error{
		"a listener is deleted": func(b intent.LoadBalancerStatus) error {
			return listeners.Delete(t.Context(), c.octavia, b.Listeners[0].ID).ExtractErr()
		},
		"the load balancer is deleted": func(b intent.LoadBalancerStatus) error {
			return loadbalancers.Delete(t.Context(), c.octavia, b.ID, loadbalancers.DeleteOpts{Cascade: true}).ExtractErr()
		},
	} {
		have := apply(t, f, unit, want).LoadBalancers["default/web"]
		if err := remove(have); err != nil {
			t.Fatal(err)
		}
		drifted(t, f, name, unit)
		back := apply(t, f, unit, want).LoadBalancers["default/web"]
		if diff := cmp.Diff(describe(want.LoadBalancers[0]), describeStatus(back)); diff != "" || back.VIP != have.VIP {
			t.Errorf("%s: %+v came back: %s", name, back, diff)
		}
	}
}

// contractFloatingIPs applies a floating IP that is created for the unit, and then a
// user's, which stays when it is released.
func contractFloatingIPs(t *testing.T, f *Fabric, cloud contractCloud) {
	t.Helper()
	want := func(fip *intent.FloatingIP) intent.Want {
		w := steadyWant()
		w.LoadBalancers[0].FloatingIP = fip
		return w
	}
	own := apply(t, f, unit, want(&intent.FloatingIP{Network: cloud.external}))
	if b := own.LoadBalancers["default/web"].FloatingIP; b == nil || !b.Own || b.Addr != own.FloatingIPs["default/web"] {
		t.Errorf("its own: %+v", b)
	}
	if again := apply(t, f, unit, want(&intent.FloatingIP{Network: cloud.external})); again.Changed != 0 || again.FloatingIPs["default/web"] != own.FloatingIPs["default/web"] {
		t.Errorf("again: %d changes, %v", again.Changed, again.FloatingIPs)
	}
	c := f.session.Load()
	users, err := floatingips.Create(t.Context(), c.neutron, floatingips.CreateOpts{FloatingNetworkID: cloud.external, Description: "mine"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := floatingips.Delete(ctx, c.neutron, users.ID).ExtractErr(); err != nil {
			t.Error(err)
		}
	})
	addr := netip.MustParseAddr(users.FloatingIP)
	observed := apply(t, f, unit, want(&intent.FloatingIP{Network: cloud.external, Addr: addr}))
	if b := observed.LoadBalancers["default/web"].FloatingIP; b == nil || b.Own || b.Addr != addr {
		t.Errorf("the user's: %+v", b)
	}
	drifted(t, f, "with the user's floating IP")
	if fips := floatingIPsOf(t, c, cloud); len(fips) != 1 {
		t.Errorf("its own is still there: %v", fips)
	}
	apply(t, f, unit, want(nil))
	if fips := floatingIPsOf(t, c, cloud); len(fips) != 1 || fips[0].PortID != "" || len(fips[0].Tags) != 0 || fips[0].Description != "mine" {
		t.Errorf("the user's floating IP is not as it was: %+v", fips)
	}
}

// floatingIPsOf returns our cluster's and the user's floating IPs.
func floatingIPsOf(t *testing.T, c *client, cloud contractCloud) []floatingips.FloatingIP {
	t.Helper()
	all, err := c.floating.list(t.Context(), floatingips.ListOpts{FloatingNetworkID: cloud.external})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(fip floatingips.FloatingIP) bool {
		return fip.Description != "mine" && !strings.Contains(fip.Description, cloud.options.Owner)
	})
}

// contractClear checks that Clear deletes everything that Owned returns.
func contractClear(t *testing.T, f *Fabric, cloud contractCloud) {
	t.Helper()
	apply(t, f, unit, floatingOf(steadyWant(), cloud.external))
	if owned, err := f.Owned(t.Context()); err != nil || len(owned) != 2 {
		t.Errorf("owned: %q, %v", owned, err)
	}
	if n, err := f.Clear(t.Context()); n != 1 || err != nil {
		t.Errorf("cleared %d units: %v", n, err)
	}
	units, err := f.Units(t.Context())
	if all := balancersOf(t, f, cloud); err != nil || len(units) != 0 || len(all) != 0 {
		t.Errorf("units %v with %d load balancers are left: %v", units, len(all), err)
	}
}

func floatingOf(w intent.Want, network string) intent.Want {
	w.LoadBalancers[0].FloatingIP = &intent.FloatingIP{Network: network}
	return w
}
