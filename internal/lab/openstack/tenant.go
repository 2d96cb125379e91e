package openstack

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/provider"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// What a cloud with an outside has instead of the provider network. They bear
// the names that DevStack gives them.
const (
	// PublicNetwork is project admin's, and leads outside.
	PublicNetwork = "public"
	PublicSubnet  = "public-subnet"
	// PrivateNetwork and Router are project k8s's.
	PrivateNetwork = "private"
	PrivateSubnet  = "private-subnet"
	PrivateCIDR    = "10.0.0.0/26"
	Router         = "router1"
	// Tenant is the cloud of clouds.yaml that works there.
	Tenant = "k8s"
)

// physnet is what the chassis' bridge mappings call the way out.
const physnet = "physnet1"

// Network is the one that virtual machines are put on if nobody says otherwise.
func (c Config) Network() string {
	if c.External.IsValid() {
		return PrivateNetwork
	}
	return ProviderNetwork
}

// makeTenant is idempotent: what bears the name is taken as it is.
func (c Config) makeTenant(ctx context.Context, admin Network) error {
	public, err := c.makePublic(ctx, admin)
	if err != nil {
		return err
	}
	n, err := Dial(ctx, c.CloudsFile(), Tenant)
	if err != nil {
		return err
	}
	private, err := n.makeNetwork(ctx, PrivateNetwork, networks.CreateOpts{Name: PrivateNetwork})
	if err != nil {
		return err
	}
	subnet, err := n.makeSubnet(ctx, subnets.CreateOpts{NetworkID: private, Name: PrivateSubnet, CIDR: PrivateCIDR})
	if err != nil {
		return err
	}
	err = n.makeRouter(ctx, routers.CreateOpts{
		Name: Router, GatewayInfo: &routers.GatewayInfo{NetworkID: public},
	}, subnet)
	if err != nil || len(c.Admitted) == 0 {
		return err
	}
	return n.admit(ctx, c.Admitted...)
}

func (c Config) makePublic(ctx context.Context, n Network) (string, error) {
	yes := true
	network, err := n.makeNetwork(ctx, PublicNetwork, provider.CreateOptsExt{
		CreateOptsBuilder: external.CreateOptsExt{CreateOptsBuilder: networks.CreateOpts{Name: PublicNetwork}, External: &yes},
		Segments:          []provider.Segment{{NetworkType: "flat", PhysicalNetwork: physnet}},
	})
	if err != nil {
		return "", err
	}
	no, gateway := false, c.External.Masked().Addr().Next().String()
	first, last := poolOf(c.External)
	_, err = n.makeSubnet(ctx, subnets.CreateOpts{
		NetworkID: network, Name: PublicSubnet, CIDR: c.External.Masked().String(), GatewayIP: &gateway, EnableDHCP: &no,
		AllocationPools: []subnets.AllocationPool{{Start: first.String(), End: last.String()}},
	})
	return network, err
}

// poolOf leaves the first nine addresses of a network with 24 bits, and the
// last five, to whoever is outside.
func poolOf(p netip.Prefix) (first, last netip.Addr) {
	a := p.Masked().Addr().As4()
	a[3] += 10
	first = netip.AddrFrom4(a)
	a[3] += 240
	return first, netip.AddrFrom4(a)
}

// CloudOf is a clouds.yaml that has only one of Clouds: what its user may know.
func (c Config) CloudOf(cloud string) (string, error) {
	text, err := c.defaulted().renderFor("clouds.yaml", cloud)
	if err != nil {
		return "", fmt.Errorf("clouds.yaml of %s: %w", cloud, err)
	}
	return text, nil
}
