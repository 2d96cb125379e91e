package guest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/trunks"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
)

// owner returns a client for the project that owns the guest's port.
func (c Config) owner(ctx context.Context, s Spec) (openstack.Network, error) {
	return openstack.Dial(ctx, c.CloudsFile, cmp.Or(s.Cloud, "admin"))
}

// ensureTrunkAndFloatingIP creates the trunk and the floating IP of a port, as far as s asks
// for them. It returns the floating IP, or the zero Addr if there is none.
func ensureTrunkAndFloatingIP(ctx context.Context, n openstack.Network, s Spec, port string) (floating netip.Addr, err error) {
	if s.Trunk {
		if err := ensureTrunk(ctx, n, s.Name, port); err != nil {
			return floating, fmt.Errorf("trunk of port %s: %w", port, err)
		}
	}
	if s.Public == "" {
		return floating, nil
	}
	if floating, err = ensureFloatingIP(ctx, n, s.Public, port); err != nil {
		err = fmt.Errorf("floating IP of port %s: %w", port, err)
	}
	return floating, err
}

func ensureTrunk(ctx context.Context, n openstack.Network, name, port string) error {
	have, err := findTrunks(ctx, n, port)
	if err != nil || len(have) > 0 {
		return err
	}
	_, err = trunks.Create(ctx, n.ServiceClient, trunks.CreateOpts{Name: name, PortID: port, Subports: []trunks.Subport{}}).Extract()
	return err
}

func findTrunks(ctx context.Context, n openstack.Network, port string) ([]trunks.Trunk, error) {
	all, err := trunks.List(n.ServiceClient, trunks.ListOpts{PortID: port}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return trunks.ExtractTrunks(all)
}

func ensureFloatingIP(ctx context.Context, n openstack.Network, public, port string) (netip.Addr, error) {
	have, err := findFloatingIPs(ctx, n, port)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(have) > 0 {
		return netip.ParseAddr(have[0].FloatingIP)
	}
	network, err := n.NetworkID(ctx, public)
	if err != nil {
		return netip.Addr{}, err
	}
	made, err := floatingips.Create(ctx, n.ServiceClient, floatingips.CreateOpts{FloatingNetworkID: network, PortID: port}).Extract()
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(made.FloatingIP)
}

func findFloatingIPs(ctx context.Context, n openstack.Network, port string) ([]floatingips.FloatingIP, error) {
	all, err := floatingips.List(n.ServiceClient, floatingips.ListOpts{PortID: port}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return floatingips.ExtractFloatingIPs(all)
}

// deleteTrunkAndFloatingIPs deletes a port's floating IPs and trunk. It keeps the subports,
// which belong to others.
func deleteTrunkAndFloatingIPs(ctx context.Context, n openstack.Network, port string) error {
	floating, err := findFloatingIPs(ctx, n, port)
	if err != nil {
		return err
	}
	for _, f := range floating {
		if err := ignoreNotFound(floatingips.Delete(ctx, n.ServiceClient, f.ID).ExtractErr()); err != nil {
			return fmt.Errorf("floating IP %s: %w", f.FloatingIP, err)
		}
	}
	have, err := findTrunks(ctx, n, port)
	if err != nil {
		return err
	}
	for _, t := range have {
		if err := ignoreNotFound(trunks.Delete(ctx, n.ServiceClient, t.ID).ExtractErr()); err != nil {
			return fmt.Errorf("trunk %s: %w", t.ID, err)
		}
	}
	return nil
}

// ignoreNotFound returns err, or nil if err is the HTTP status 404.
func ignoreNotFound(err error) error {
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return err
}
