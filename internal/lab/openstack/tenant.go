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

// Resources of the cloud with External, instead of the provider network. They have the same
// names as in DevStack.
const (
	// PublicNetwork is the external network, in project admin.
	PublicNetwork = "public"
	PublicSubnet  = "public-subnet"
	// PrivateNetwork and Router are in project k8s.
	PrivateNetwork = "private"
	PrivateSubnet  = "private-subnet"
	PrivateCIDR    = "10.0.0.0/26"
	Router         = "router1"
	// Tenant is the cloud of clouds.yaml for project k8s.
	Tenant = "k8s"
)

// physnet is the physical network of the chassis' bridge mappings.
const physnet = "physnet1"

// Network returns the default network of virtual machines.
func (c Config) Network() string {
	if c.External.IsValid() {
		return PrivateNetwork
	}
	return ProviderNetwork
}

// makeTenant creates the external network and the resources of project k8s that do not exist
// by name. It does not change existing ones.
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
	if err != nil || len(c.AllowedPorts) == 0 {
		return err
	}
	return n.allowIngress(ctx, c.AllowedPorts...)
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
	first, last := allocationPool(c.External)
	_, err = n.makeSubnet(ctx, subnets.CreateOpts{
		NetworkID: network, Name: PublicSubnet, CIDR: c.External.Masked().String(), GatewayIP: &gateway, EnableDHCP: &no,
		AllocationPools: []subnets.AllocationPool{{Start: first.String(), End: last.String()}},
	})
	return network, err
}

// allocationPool returns the first and last address of the pool of an external network with 24
// bits. The first nine and the last five addresses are left to hosts outside.
func allocationPool(p netip.Prefix) (first, last netip.Addr) {
	a := p.Masked().Addr().As4()
	a[3] += 10
	first = netip.AddrFrom4(a)
	a[3] += 240
	return first, netip.AddrFrom4(a)
}

// CloudsYAML returns a clouds.yaml with only one of Clouds. It has no credentials of the others.
func (c Config) CloudsYAML(cloud string) (string, error) {
	text, err := c.defaulted().renderFor("clouds.yaml", cloud)
	if err != nil {
		return "", fmt.Errorf("clouds.yaml of %s: %w", cloud, err)
	}
	return text, nil
}
