package octavia

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// vipPortPrefix is the prefix of the name of the port that provider ovn creates for a
// virtual IP. The rest of the name is the id of the load balancer.
const vipPortPrefix = "ovn-lb-vip-"

// creationTime is how long Octavia may take to create a load balancer. A younger port may
// belong to a load balancer that Octavia does not show yet.
const creationTime = 2 * time.Minute

// resolveAddressConflict handles a virtual IP that was taken when want was to be created.
// It adopts a load balancer that Kuryr created, or that we created in a call whose answer
// was lost. It deletes a port that Octavia left behind after a failure; then the next
// round creates want. If the address belongs to anything else, it returns intent.Wait.
func (c *client) resolveAddressConflict(ctx context.Context, want loadBalancer) error {
	found, err := c.listLoadBalancers(ctx, loadbalancers.ListOpts{VipAddress: want.VIP.String(), VipSubnetID: want.Subnet})
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return c.adopt(ctx, fromList(found[0]), want)
	}
	all, err := c.listPorts(ctx, ports.FixedIPOpts{SubnetID: want.Subnet, IPAddress: want.VIP.String()})
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := c.deleteIfLeftover(ctx, want, p); err != nil {
			return err
		}
	}
	return nil
}

// deleteIfLeftover deletes the port that has want's address. It returns intent.Wait if
// the port is in use.
func (c *client) deleteIfLeftover(ctx context.Context, want loadBalancer, p ports.Port) error {
	leftover, err := c.isLeftover(ctx, p)
	if err != nil {
		return err
	}
	if !leftover {
		return intent.Wait{Reason: "AddressTaken", After: busyDelay, For: fmt.Sprintf(
			"address %s of load balancer %s: port %s (%q, device owner %q) has it", want.VIP, want.Name, p.ID, p.Name, p.DeviceOwner)}
	}
	return c.deletePort(ctx, p)
}

// adopt makes us the owner of a load balancer that has our address. It returns
// intent.Wait if the load balancer is foreign.
func (c *client) adopt(ctx context.Context, have, want loadBalancer) error {
	if !openstack.HasOwnerTag(have.Tags) && have.Name == want.Name || hasAll(have.Tags, want.Tags) {
		e := execution{client: c, target: have.ID, name: want.Name}
		tagged := want
		tagged.Tags = openstack.ReplaceTags(have.Tags, want.Tags)
		return e.run(ctx, step{verb: tagLoadBalancer, id: have.ID, name: want.Name, balancer: tagged})
	}
	if strings.HasPrefix(have.Status, pendingPrefix) {
		return waitForUpdate(have.Name)
	}
	return intent.Wait{Reason: "AddressTaken", After: operatorDelay, For: fmt.Sprintf(
		"address %s: load balancer %s (%s), which is not ours, has it", want.VIP, have.Name, have.ID)}
}

// isLeftover reports whether a port belongs to a load balancer that Octavia
// failed to create. It returns intent.Wait if Octavia may still be creating it.
func (c *client) isLeftover(ctx context.Context, p ports.Port) (bool, error) {
	id, is := strings.CutPrefix(p.Name, vipPortPrefix)
	if !is {
		return false, nil
	}
	err := classifyError("read load balancer "+id, loadbalancers.Get(ctx, c.octavia, id).Err)
	switch {
	case err == nil:
		return false, nil
	case !errors.Is(err, errNotFound):
		return false, err
	case time.Since(p.CreatedAt) < creationTime:
		return false, intent.Wait{Reason: "AddressTaken", For: "Octavia to finish with port " + p.Name, After: busyDelay}
	}
	return true, nil
}

func (c *client) listPorts(ctx context.Context, at ports.FixedIPOpts) ([]ports.Port, error) {
	pages, err := ports.List(c.neutron, ports.ListOpts{FixedIPs: []ports.FixedIPOpts{at}}).AllPages(ctx)
	if err != nil {
		return nil, classifyError(strings.TrimSpace("list the ports of subnet "+at.SubnetID+" "+at.IPAddress), err)
	}
	return ports.ExtractPorts(pages)
}

func (c *client) deletePort(ctx context.Context, p ports.Port) error {
	return ignoreNotFound(classifyError("delete port "+p.Name, ports.Delete(ctx, c.neutron, p.ID).ExtractErr()))
}
