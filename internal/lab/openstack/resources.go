package openstack

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Resources of the cloud without External, all in project admin.
const (
	// ProviderNetwork has the subnet ProviderSubnet, which is on ProviderRouter.
	ProviderNetwork = "provider"
	ProviderSubnet  = "provider-v4"
	ProviderCIDR    = "192.168.1.0/24"
	ProviderRouter  = "router0"
	// ResourcesName is the step that creates the resources, with or without
	// External.
	ResourcesName = "openstack/resources"
)

func (c Config) resources() supervise.Component {
	needs := append([]string{"keystone", "neutron", "chassis-mirror"}, c.Chassis...)
	if c.Octavia {
		needs = append(needs, "octavia")
	}
	return supervise.Component{Name: ResourcesName, Needs: needs, Do: c.makeResources}
}

// makeResources creates the resources that do not exist by name. It does not change existing
// ones. Neutron may not be connected to OVN yet when its API first answers, so
// makeResources repeats the first call for up to a minute.
func (c Config) makeResources(ctx context.Context) error {
	if err := c.write(); err != nil {
		return err
	}
	var n Network
	err := await(ctx, time.Minute, func(ctx context.Context) (err error) {
		n, err = Dial(ctx, c.CloudsFile(), "admin")
		if err == nil {
			_, err = n.NetworkID(ctx, ProviderNetwork)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("neutron does not serve authenticated calls: %w", err)
	}
	if c.External.IsValid() {
		err = c.makeTenant(ctx, n)
	} else {
		err = n.makeProvider(ctx)
	}
	if err != nil {
		return err
	}
	return n.allowIngress(ctx, ssh)
}

const ssh = 22

func (n Network) makeProvider(ctx context.Context) error {
	network, err := n.makeNetwork(ctx, ProviderNetwork, networks.CreateOpts{Name: ProviderNetwork})
	if err != nil {
		return err
	}
	subnet, err := n.makeSubnet(ctx, subnets.CreateOpts{NetworkID: network, Name: ProviderSubnet, CIDR: ProviderCIDR})
	if err != nil {
		return err
	}
	return n.makeRouter(ctx, routers.CreateOpts{Name: ProviderRouter}, subnet)
}

func (n Network) makeNetwork(ctx context.Context, name string, opts networks.CreateOptsBuilder) (string, error) {
	id, err := n.NetworkID(ctx, name)
	if err != nil || id != "" {
		return id, err
	}
	made, err := networks.Create(ctx, n.ServiceClient, opts).Extract()
	if err != nil {
		return "", fmt.Errorf("network %s: %w", name, err)
	}
	return made.ID, nil
}

func (n Network) makeSubnet(ctx context.Context, opts subnets.CreateOpts) (string, error) {
	all, err := subnets.List(n.ServiceClient, subnets.ListOpts{NetworkID: opts.NetworkID, Name: opts.Name}).AllPages(ctx)
	if err != nil {
		return "", err
	}
	have, err := subnets.ExtractSubnets(all)
	if err != nil {
		return "", err
	}
	if len(have) > 0 {
		return have[0].ID, nil
	}
	opts.IPVersion = gophercloud.IPv4
	made, err := subnets.Create(ctx, n.ServiceClient, opts).Extract()
	if err != nil {
		return "", fmt.Errorf("subnet %s: %w", opts.Name, err)
	}
	return made.ID, nil
}

// makeRouter creates a router in the client's project and an interface in subnet, as far as
// they are missing.
func (n Network) makeRouter(ctx context.Context, opts routers.CreateOpts, subnet string) error {
	all, err := routers.List(n.ServiceClient, routers.ListOpts{Name: opts.Name, ProjectID: n.Project}).AllPages(ctx)
	if err != nil {
		return err
	}
	have, err := routers.ExtractRouters(all)
	if err != nil {
		return err
	}
	var id string
	if len(have) > 0 {
		id = have[0].ID
	} else {
		made, err := routers.Create(ctx, n.ServiceClient, opts).Extract()
		if err != nil {
			return fmt.Errorf("router %s: %w", opts.Name, err)
		}
		id = made.ID
	}
	joined, err := n.routerHas(ctx, id, subnet)
	if err != nil || joined {
		return err
	}
	_, err = routers.AddInterface(ctx, n.ServiceClient, id, routers.AddInterfaceOpts{SubnetID: subnet}).Extract()
	if err != nil {
		return fmt.Errorf("join subnet %s to router %s: %w", subnet, opts.Name, err)
	}
	return nil
}

func (n Network) routerHas(ctx context.Context, router, subnet string) (bool, error) {
	all, err := ports.List(n.ServiceClient, ports.ListOpts{
		DeviceID: router, FixedIPs: []ports.FixedIPOpts{{SubnetID: subnet}},
	}).AllPages(ctx)
	if err != nil {
		return false, err
	}
	have, err := ports.ExtractPorts(all)
	return len(have) > 0, err
}

// allowIngress adds rules to the project's default security group that allow ICMP and TCP ports
// from anywhere.
func (n Network) allowIngress(ctx context.Context, ports ...int) error {
	all, err := groups.List(n.ServiceClient, groups.ListOpts{Name: "default", ProjectID: n.Project}).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("security group default: %w", err)
	}
	have, err := groups.ExtractGroups(all)
	if err != nil || len(have) == 0 {
		return fmt.Errorf("security group default of project %s is missing: %w", n.Project, err)
	}
	wanted := []rules.CreateOpts{{Protocol: rules.ProtocolICMP}}
	for _, p := range ports {
		wanted = append(wanted, rules.CreateOpts{Protocol: rules.ProtocolTCP, PortRangeMin: p, PortRangeMax: p})
	}
	for _, want := range wanted {
		want.SecGroupID, want.Direction, want.EtherType, want.RemoteIPPrefix = have[0].ID, rules.DirIngress, rules.EtherType4, "0.0.0.0/0"
		_, err := rules.Create(ctx, n.ServiceClient, want).Extract()
		if err != nil && !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
			return fmt.Errorf("rule for %s in security group default: %w", want.Protocol, err)
		}
	}
	return nil
}

// NetworkID returns the id of a network by name, or "" if there is none. It errs if several
// networks have the name.
func (n Network) NetworkID(ctx context.Context, name string) (string, error) {
	all, err := networks.List(n.ServiceClient, networks.ListOpts{Name: name}).AllPages(ctx)
	if err != nil {
		return "", err
	}
	have, err := networks.ExtractNetworks(all)
	if err != nil || len(have) == 0 {
		return "", err
	}
	if len(have) > 1 {
		return "", fmt.Errorf("%d networks are named %s, use an id", len(have), name)
	}
	return have[0].ID, nil
}
