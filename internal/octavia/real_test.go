//go:build cloud

package octavia

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// A real Octavia keeps the contract. The test uses cloud ISTHMUS_CLOUD ("k8s" if that is
// not set) in the clouds.yaml that ISTHMUS_CLOUDS names. It creates networks and a router
// there:
//
//	go test -tags cloud -run TestContractReal ./internal/octavia
func TestContractReal(t *testing.T) {
	file := os.Getenv("ISTHMUS_CLOUDS")
	if file == "" {
		t.Fatal("ISTHMUS_CLOUDS names no clouds.yaml of a cloud with Octavia")
	}
	o := Options{
		Owner: fmt.Sprintf("contract-%d", os.Getpid()), Cloud: cmp.Or(os.Getenv("ISTHMUS_CLOUD"), "k8s"), CloudsFile: file,
		ApplyTimeout: 2 * time.Minute,
	}
	c, err := New(o).session.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := realSubnets(t, c)
	o.Subnet = func(network string, _ netip.Addr) (string, error) { return ids[network], nil }
	contract(t, contractCloud{options: o, services: ids["services"], external: realRouter(t, c, ids["services"])})
}

// realRouter connects a subnet to the cloud's external network, and returns that
// network's id.
func realRouter(t *testing.T, c *client, subnet string) string {
	t.Helper()
	yes := true
	pages, err := networks.List(c.neutron, external.ListOptsExt{ListOptsBuilder: networks.ListOpts{}, External: &yes}).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := networks.ExtractNetworks(pages)
	if err != nil || len(all) == 0 {
		t.Fatalf("the cloud has no external network: %v", err)
	}
	r, err := routers.Create(t.Context(), c.neutron, routers.CreateOpts{Name: "octavia-test", GatewayInfo: &routers.GatewayInfo{NetworkID: all[0].ID}}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	afterwards(t, func(ctx context.Context) error { return routers.Delete(ctx, c.neutron, r.ID).ExtractErr() })
	if _, err := routers.AddInterface(t.Context(), c.neutron, r.ID, routers.AddInterfaceOpts{SubnetID: subnet}).Extract(); err != nil {
		t.Fatal(err)
	}
	afterwards(t, func(ctx context.Context) error {
		return routers.RemoveInterface(ctx, c.neutron, r.ID, routers.RemoveInterfaceOpts{SubnetID: subnet}).Err
	})
	return all[0].ID
}

// realSubnets creates networks "pods" and "services", and returns the ids of their
// subnets by the network's name.
func realSubnets(t *testing.T, c *client) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, cidr := range map[string]string{"pods": "10.222.0.0/16", "services": "10.223.0.0/16"} {
		n, err := networks.Create(t.Context(), c.neutron, networks.CreateOpts{Name: "octavia-test-" + name}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		afterwards(t, func(ctx context.Context) error { return networks.Delete(ctx, c.neutron, n.ID).ExtractErr() })
		no := false
		s, err := subnets.Create(t.Context(), c.neutron, subnets.CreateOpts{NetworkID: n.ID, CIDR: cidr, IPVersion: gophercloud.IPv4, EnableDHCP: &no}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = s.ID
	}
	return out
}

// afterwards calls remove at the end of the test, after its context has ended.
func afterwards(t *testing.T, remove func(context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		if err := remove(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}
