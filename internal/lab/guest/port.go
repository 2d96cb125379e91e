package guest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/mtu"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
)

// novaDeviceOwner is the device_owner that Nova sets on the ports of its instances.
const novaDeviceOwner = "compute:nova"

// boundPort is a port with its binding, which only the admin sees.
type boundPort struct {
	ports.Port
	portsbinding.PortsBindingExt
}

// ServerID returns the id that Nova would give an instance. It depends on the guest's name
// only, so that the port of a killed run is found again.
func ServerID(name string) string {
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(name+".guest.isthmus.test")).String()
}

// ensurePort returns the guest's port, bound to its node. It creates the port or binds it
// again if needed. The port must be bound before the tap is plugged: otherwise Neutron may
// miss that the port is up and show it as DOWN.
func ensurePort(ctx context.Context, n, owner openstack.Network, s Spec) (boundPort, error) {
	if err := awaitAgent(ctx, n, s.Node); err != nil {
		return boundPort{}, err
	}
	have, err := findPorts(ctx, n, s.Name)
	if err != nil {
		return boundPort{}, err
	}
	if len(have) > 0 {
		return rebind(ctx, n, have[0], s.Node)
	}
	network, err := n.NetworkID(ctx, s.Network)
	if err != nil {
		return boundPort{}, err
	}
	if network == "" {
		return boundPort{}, fmt.Errorf("there is no network %s (openstack network list)", s.Network)
	}
	opts := ports.CreateOpts{
		NetworkID: network, Name: s.Name, DeviceOwner: novaDeviceOwner, DeviceID: ServerID(s.Name), ProjectID: owner.Project,
	}
	if s.FixedIP.IsValid() {
		opts.FixedIPs = []ports.IP{{IPAddress: s.FixedIP.String()}}
	}
	var p boundPort
	err = ports.Create(ctx, n.ServiceClient, portsbinding.CreateOptsExt{CreateOptsBuilder: opts, HostID: s.Node}).ExtractInto(&p)
	return p, err
}

// awaitAgent returns when Neutron's agent of the node is alive. It errs after 45 s. Without
// a live agent, Neutron creates a port but fails to bind it. It polls because Neutron (Zed)
// misses the first heartbeat of a new chassis and looks again only when its agents are
// listed.
func awaitAgent(ctx context.Context, n openstack.Network, node string) error {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		alive, err := agentAlive(ctx, n, node)
		if alive || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s is no live host of Neutron's (openstack network agent list): %w", node, ctx.Err())
		case <-tick.C:
		}
	}
}

// agentAlive reports whether Neutron's agent of a node is alive. It does not use
// gophercloud's package agents, which cannot parse OVN's heartbeat_timestamp.
func agentAlive(ctx context.Context, n openstack.Network, node string) (bool, error) {
	type agent struct {
		Host  string `json:"host"`
		Alive bool   `json:"alive"`
	}
	var body struct {
		Agents []agent `json:"agents"`
	}
	//nolint:bodyclose // gophercloud reads and closes it
	_, err := n.Get(ctx, n.ServiceURL("agents"), &body, nil)
	return slices.Contains(body.Agents, agent{node, true}), err
}

func findPorts(ctx context.Context, n openstack.Network, name string) ([]boundPort, error) {
	all, err := ports.List(n.ServiceClient, ports.ListOpts{DeviceID: ServerID(name), DeviceOwner: novaDeviceOwner}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	var have []boundPort
	err = ports.ExtractPortsInto(all, &have)
	return have, err
}

// rebind binds a port to node if it is bound elsewhere or its binding failed.
func rebind(ctx context.Context, n openstack.Network, p boundPort, node string) (boundPort, error) {
	if p.HostID == node && p.VIFType != "binding_failed" {
		return p, nil
	}
	err := ports.Update(ctx, n.ServiceClient, p.ID, portsbinding.UpdateOptsExt{
		UpdateOptsBuilder: ports.UpdateOpts{}, HostID: &node,
	}).ExtractInto(&p)
	return p, err
}

// describe returns the guest's interface for a port. Address and Gateway may be zero.
func describe(ctx context.Context, n openstack.Network, p boundPort) (nic, error) {
	var network struct {
		networks.Network
		mtu.NetworkMTUExt
	}
	if err := networks.Get(ctx, n.ServiceClient, p.NetworkID).ExtractInto(&network); err != nil {
		return nic{}, err
	}
	out := nic{TAP: tapName(p.ID), MAC: p.MACAddress, MTU: network.MTU}
	if len(p.FixedIPs) == 0 {
		return out, nil
	}
	subnet, err := subnets.Get(ctx, n.ServiceClient, p.FixedIPs[0].SubnetID).Extract()
	if err != nil {
		return nic{}, err
	}
	addr, err := netip.ParseAddr(p.FixedIPs[0].IPAddress)
	if err != nil {
		return nic{}, err
	}
	prefix, err := netip.ParsePrefix(subnet.CIDR)
	if err != nil {
		return nic{}, err
	}
	out.Address = netip.PrefixFrom(addr, prefix.Bits())
	// a subnet may have no gateway
	out.Gateway, _ = netip.ParseAddr(subnet.GatewayIP)
	return out, nil
}
