package octavia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// vipPort begins the name of the port that provider ovn makes for a balancer's
// address; the balancer's id is the rest.
const vipPort = "ovn-lb-vip-"

// young is the age up to which a port without balancer may belong to one that
// is just being made: Octavia shows that only when it is done.
const young = 2 * time.Minute

// free looks at who has the address of a balancer that could not be made. One
// of ours whose answer was lost, or one that Kuryr made, becomes ours; a port
// that Octavia left behind when it failed is deleted; anybody else keeps it.
func (a *api) free(ctx context.Context, want balancer) error {
	found, err := a.list(ctx, loadbalancers.ListOpts{VipAddress: want.VIP.String(), VipSubnetID: want.Subnet})
	if err != nil {
		return err
	}
	for _, lb := range found {
		return a.adopt(ctx, shown(lb), want)
	}
	pages, err := ports.List(a.network, ports.ListOpts{FixedIPs: []ports.FixedIPOpts{{SubnetID: want.Subnet, IPAddress: want.VIP.String()}}}).AllPages(ctx)
	if err != nil {
		return classifyError("find the port of address "+want.VIP.String(), err)
	}
	all, err := ports.ExtractPorts(pages)
	if err != nil {
		return err
	}
	for _, p := range all {
		if orphan, err := a.orphan(ctx, p); err != nil || !orphan {
			return orTaken(err, want, p)
		}
		if err := a.deletePort(ctx, p); err != nil {
			return err
		}
	}
	return nil // the next round makes it
}

func orTaken(err error, want balancer, p ports.Port) error {
	if err != nil {
		return err
	}
	return intent.Wait{Reason: "AddressTaken", After: later, For: fmt.Sprintf(
		"address %s of load balancer %s: port %s (%q, device owner %q) has it", want.VIP, want.Name, p.ID, p.Name, p.DeviceOwner)}
}

// adopt makes a balancer with our address ours, unless it is somebody else's.
func (a *api) adopt(ctx context.Context, have, want balancer) error {
	if len(ours(have.Tags)) == 0 && have.Name == want.Name || slices.Equal(ours(have.Tags), ours(want.Tags)) {
		r := run{api: a, on: have.ID, name: want.Name, made: map[string]string{}}
		tags := want
		tags.Tags = retag(have.Tags, want.Tags)
		return r.do(ctx, step{verb: tagBalancer, id: have.ID, name: want.Name, balancer: tags})
	}
	if strings.HasPrefix(have.Status, pending) {
		return busyBalancer(have.Name)
	}
	return intent.Wait{Reason: "AddressTaken", After: rare, For: fmt.Sprintf(
		"address %s: load balancer %s (%s) of somebody else has it", want.VIP, have.Name, have.ID)}
}

// orphan tells whether a port is the rest of a balancer that was never made.
func (a *api) orphan(ctx context.Context, p ports.Port) (bool, error) {
	id, is := strings.CutPrefix(p.Name, vipPort)
	if !is {
		return false, nil
	}
	err := classifyError("read load balancer "+id, loadbalancers.Get(ctx, a.balancers, id).Err)
	switch {
	case err == nil:
		return false, nil
	case !errors.Is(err, errGone):
		return false, err
	case time.Since(p.CreatedAt) < young:
		return false, intent.Wait{Reason: "AddressTaken", For: "Octavia to be done with port " + p.Name, After: later}
	}
	return true, nil
}

func (a *api) deletePort(ctx context.Context, p ports.Port) error {
	err := classifyError("delete port "+p.Name, ports.Delete(ctx, a.network, p.ID).ExtractErr())
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}
