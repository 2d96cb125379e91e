//go:build cloud

package octavia

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// TestReal takes the fabric through a Service's life on a real Octavia: that of
// cloud ISTHMUS_CLOUD (k8s) in the clouds.yaml that ISTHMUS_CLOUDS names. It
// makes networks and an external one, so it is only for a cloud of one's own:
// go test -tags cloud -run TestReal ./internal/octavia
func TestReal(t *testing.T) {
	file := os.Getenv("ISTHMUS_CLOUDS")
	if file == "" {
		t.Fatal("ISTHMUS_CLOUDS names no clouds.yaml of a cloud with Octavia")
	}
	cloud := os.Getenv("ISTHMUS_CLOUD")
	if cloud == "" {
		cloud = "k8s"
	}
	f := New(Options{Owner: "octavia-test", Cloud: cloud, CloudsFile: file, ApplyTimeout: 2 * time.Minute})
	a, err := f.session.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sub := realSubnets(t, a)
	f.Subnet = func(segment string, _ netip.Addr) (string, error) { return sub[segment], nil }
	outside := realRouter(t, a, sub["services"])
	t.Cleanup(func() {
		if _, err := f.Apply(context.WithoutCancel(t.Context()), unit, intent.Want{}); err != nil {
			t.Error(err)
		}
	})
	diesMeanwhile(t, a, f, sub)
	two := members(8080, "10.222.0.11", "10.222.0.12")
	for _, s := range []struct {
		name string
		want intent.Want
	}{
		{"two protocols", at(web(tcp(80, two), intent.Listener{Protocol: "UDP", Port: 80, Members: members(53, "10.222.0.11")}))},
		{"other members", at(web(tcp(80, members(8080, "10.222.0.12", "10.222.0.13")), intent.Listener{Protocol: "UDP", Port: 80}))},
		{"one more", at(web(tcp(80, members(8080, "10.222.0.12", "10.222.0.13", "10.222.0.14")), intent.Listener{Protocol: "UDP", Port: 80}))},
		{"one less", at(web(tcp(80, members(8080, "10.222.0.12", "10.222.0.13")), intent.Listener{Protocol: "UDP", Port: 80}))},
		{"other ports", at(web(tcp(80, two), tcp(443, two), intent.Listener{Protocol: "SCTP", Port: 80, Members: two}))},
		{"no ports", at(web())},
		{"a port again", at(web(tcp(80, two)))},
		{"an address from outside", outer(at(web(tcp(80, two))), outside)},
		{"no address from outside", at(web(tcp(80, two)))},
	} {
		begun := time.Now()
		seen := apply(t, f, unit, s.want)
		took := time.Since(begun)
		if (s.want.LoadBalancers[0].FloatingIP == nil) == seen.FloatingIPs["default/web"].IsValid() {
			t.Errorf("%s: address %s", s.name, seen.FloatingIPs)
		}
		check(t, s.name, s.want.LoadBalancers[0], seen.LoadBalancers["default/web"])
		if again := apply(t, f, unit, s.want); again.Changed != 0 {
			t.Errorf("%s: applied again, it changed %d", s.name, again.Changed)
		}
		units, err := f.Drifted(t.Context())
		if err != nil || len(units) != 0 {
			t.Errorf("%s: drifted: %v, %v", s.name, units, err)
		}
		t.Logf("%s took %s", s.name, took.Round(time.Millisecond))
	}
}

// at moves a want to the addresses of this test.
func at(w intent.Want) intent.Want {
	w.LoadBalancers[0].VIP = netip.MustParseAddr("10.223.0.20")
	return w
}

func check(t *testing.T, name string, want intent.LoadBalancer, have intent.LoadBalancerStatus) {
	t.Helper()
	if len(have.Listeners) != len(want.Listeners) {
		t.Errorf("%s: %d listeners, want %d: %+v", name, len(have.Listeners), len(want.Listeners), have)
	}
	for _, l := range want.Listeners {
		i := slices.IndexFunc(have.Listeners, func(h intent.ListenerStatus) bool { return h.Protocol == l.Protocol && h.Port == l.Port })
		if i < 0 || len(have.Listeners[i].Members) != len(l.Members) {
			t.Errorf("%s: %s %d: %+v", name, l.Protocol, l.Port, have.Listeners)
		}
	}
}

// diesMeanwhile breaks off the call that makes a balancer: what comes of it, and
// nothing else, is ours when we look again.
func diesMeanwhile(t *testing.T, a *client, f *Fabric, sub map[string]string) {
	t.Helper()
	want := at(web(tcp(80, members(8080, "10.222.0.11"))))
	o, err := translate(f.owner(unit), "ovn", want.LoadBalancers[0], f.Subnet)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r := execution{client: a, createdPools: map[string]string{}}
	if err := r.run(short, step{verb: createLoadBalancer, name: o.Name, balancer: o}); err == nil {
		t.Log("Octavia was quicker than we")
	}
	begun := time.Now()
	apply(t, f, unit, want)
	all, err := a.listLoadBalancers(t.Context(), loadbalancers.ListOpts{VipSubnetID: sub["services"]})
	if err != nil || len(all) != 1 {
		t.Errorf("%d load balancers, %v", len(all), err)
	}
	t.Logf("going on took %s", time.Since(begun).Round(time.Millisecond))
}

// outer asks for an address from outside, where there are any.
func outer(w intent.Want, network string) intent.Want {
	if network != "" {
		w.LoadBalancers[0].FloatingIP = &intent.FloatingIP{Network: network}
	}
	return w
}

// realRouter joins a subnet to the cloud's external network, and returns that;
// nothing if there is none.
func realRouter(t *testing.T, a *client, subnet string) string {
	t.Helper()
	yes := true
	pages, err := networks.List(a.neutron, external.ListOptsExt{ListOptsBuilder: networks.ListOpts{}, External: &yes}).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := networks.ExtractNetworks(pages)
	if err != nil || len(all) == 0 {
		return ""
	}
	r, err := routers.Create(t.Context(), a.neutron, routers.CreateOpts{Name: "octavia-test", GatewayInfo: &routers.GatewayInfo{NetworkID: all[0].ID}}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := routers.Delete(context.WithoutCancel(t.Context()), a.neutron, r.ID).ExtractErr(); err != nil {
			t.Error(err)
		}
	})
	if _, err := routers.AddInterface(t.Context(), a.neutron, r.ID, routers.AddInterfaceOpts{SubnetID: subnet}).Extract(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := routers.RemoveInterface(context.WithoutCancel(t.Context()), a.neutron, r.ID, routers.RemoveInterfaceOpts{SubnetID: subnet}).Extract(); err != nil {
			t.Error(err)
		}
	})
	return all[0].ID
}

// realSubnets makes a network for members and one for addresses, for as long
// as the test runs.
func realSubnets(t *testing.T, a *client) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, cidr := range map[string]string{"pods": "10.222.0.0/16", "services": "10.223.0.0/16"} {
		n, err := networks.Create(t.Context(), a.neutron, networks.CreateOpts{Name: "octavia-test-" + name}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := networks.Delete(context.WithoutCancel(t.Context()), a.neutron, n.ID).ExtractErr(); err != nil {
				t.Error(err)
			}
		})
		no := false
		s, err := subnets.Create(t.Context(), a.neutron, subnets.CreateOpts{NetworkID: n.ID, CIDR: cidr, IPVersion: gophercloud.IPv4, EnableDHCP: &no}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = s.ID
	}
	return out
}
