package octavia

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/listeners"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/pools"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// listLoadBalancers returns the load balancers that match a query, without their parts.
func (c *client) listLoadBalancers(ctx context.Context, q loadbalancers.ListOpts) ([]loadbalancers.LoadBalancer, error) {
	pages, err := loadbalancers.List(c.octavia, q).AllPages(ctx)
	if err != nil {
		return nil, classifyError("list load balancers", err)
	}
	return loadbalancers.ExtractLoadBalancers(pages)
}

// listOwned returns the owner's load balancers without their parts, the oldest first.
func (c *client) listOwned(ctx context.Context, owner openstack.Owner) ([]loadBalancer, error) {
	found, err := c.listLoadBalancers(ctx, loadbalancers.ListOpts{Tags: owner.Tags()})
	if err != nil {
		return nil, err
	}
	var out []loadBalancer
	for _, lb := range found {
		if hasAll(lb.Tags, owner.Tags()) && lb.ProvisioningStatus != deleted {
			out = append(out, fromList(lb))
		}
	}
	return out, nil
}

func hasAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(t string) bool { return !slices.Contains(have, t) })
}

// fromList returns a load balancer without its parts.
func fromList(lb loadbalancers.LoadBalancer) loadBalancer {
	vip, _ := netip.ParseAddr(lb.VipAddress)
	return loadBalancer{
		ID: lb.ID, Name: lb.Name, Project: lb.ProjectID, Provider: lb.Provider, VIP: vip,
		Subnet: lb.VipSubnetID, VIPPort: lb.VipPortID, Tags: lb.Tags, Status: lb.ProvisioningStatus, Changed: lb.UpdatedAt,
	}
}

// readParts reads the listeners, pools and members of b, and all statuses.
func (c *client) readParts(ctx context.Context, b *loadBalancer) error {
	lpages, err := listeners.List(c.octavia, listeners.ListOpts{LoadbalancerID: b.ID}).AllPages(ctx)
	if err != nil {
		return classifyError("list listeners of load balancer "+b.Name, err)
	}
	ls, err := listeners.ExtractListeners(lpages)
	if err != nil {
		return err
	}
	ppages, err := pools.List(c.octavia, pools.ListOpts{LoadbalancerID: b.ID}).AllPages(ctx)
	if err != nil {
		return classifyError("list pools of load balancer "+b.Name, err)
	}
	ps, err := pools.ExtractPools(ppages)
	if err != nil {
		return err
	}
	tree, err := loadbalancers.GetStatuses(ctx, c.octavia, b.ID).Extract()
	if err != nil {
		return classifyError("read the status of load balancer "+b.Name, err)
	}
	assemble(b, ls, ps, tree.Loadbalancer)
	return nil
}

// assemble fills b from the answers of three calls. tree may be nil.
func assemble(b *loadBalancer, ls []listeners.Listener, ps []pools.Pool, tree *loadbalancers.LoadBalancer) {
	members := map[string][]member{} // by pool
	if tree != nil {
		b.Status = tree.ProvisioningStatus
		for _, l := range tree.Listeners {
			for _, p := range l.Pools {
				members[p.ID] = fromMembers(p)
			}
		}
	}
	b.Listeners, b.UnusedPools = nil, nil
	unused := map[string]pool{}
	for _, p := range ps {
		unused[p.ID] = fromPool(p, members[p.ID])
	}
	for _, l := range ls {
		o := listener{
			ID: l.ID, Name: l.Name, Protocol: l.Protocol, Port: l.ProtocolPort, Status: l.ProvisioningStatus, Sources: slices.Sorted(slices.Values(l.AllowedCIDRs)),
			ClientTimeout: time.Duration(l.TimeoutClientData) * time.Millisecond, MemberTimeout: time.Duration(l.TimeoutMemberData) * time.Millisecond,
		}
		o.Pool = unused[l.DefaultPoolID]
		delete(unused, l.DefaultPoolID)
		b.Listeners = append(b.Listeners, o)
	}
	for _, p := range unused {
		b.UnusedPools = append(b.UnusedPools, p)
	}
	slices.SortFunc(b.Listeners, func(x, y listener) int { return strings.Compare(x.Name+x.ID, y.Name+y.ID) })
	slices.SortFunc(b.UnusedPools, func(x, y pool) int { return strings.Compare(x.Name+x.ID, y.Name+y.ID) })
}

func fromPool(p pools.Pool, ms []member) pool {
	return pool{
		ID: p.ID, Name: p.Name, Protocol: p.Protocol, Algorithm: p.LBMethod, Affinity: p.Persistence.Type != "",
		Status: p.ProvisioningStatus, Members: ms,
	}
}

func fromMembers(p pools.Pool) []member {
	var out []member
	for _, m := range p.Members {
		out = append(out, member{ID: m.ID, Name: m.Name, Addr: m.Address, Port: m.ProtocolPort, Status: m.ProvisioningStatus})
	}
	return sortMembers(out)
}

// stepTimeout is the longest wait for one change in Octavia.
const stepTimeout = 20 * time.Second

// Pauses between two reads of a change. Octavia sends no events.
var (
	updatePauses   = retry.Backoff{First: 50 * time.Millisecond, Longest: time.Second}
	deletionPauses = retry.Backoff{First: 100 * time.Millisecond, Longest: time.Second}
)

// waitUntilIdle waits until Octavia has finished changing a load balancer, at most
// stepTimeout. It returns errBusy if Octavia has not finished by then, errFailed if the
// load balancer itself has failed, and errNotFound if it does not exist.
func (c *client) waitUntilIdle(ctx context.Context, id, name string) error {
	return until(ctx, updatePauses, errBusy, func() (bool, error) {
		tree, err := loadbalancers.GetStatuses(ctx, c.octavia, id).Extract()
		if err != nil {
			return false, classifyError("read the status of load balancer "+name, err)
		}
		b := fromStatus(tree.Loadbalancer)
		if b.Status == failed {
			return false, errFailed
		}
		return !b.busy(), nil
	})
}

// waitUntilDeleted waits until a load balancer is gone, at most stepTimeout. It returns
// intent.Wait if the load balancer is not gone by then or has failed.
func (c *client) waitUntilDeleted(ctx context.Context, id, name string) error {
	timeoutErr := intent.Wait{Reason: "Deleting", For: "Octavia to delete load balancer " + name, After: shortDelay}
	return until(ctx, deletionPauses, timeoutErr, func() (bool, error) {
		lb, err := loadbalancers.Get(ctx, c.octavia, id).Extract()
		switch err := classifyError("read load balancer "+name, err); {
		case errors.Is(err, errNotFound):
			return true, nil
		case err != nil:
			return false, err
		case lb.ProvisioningStatus == failed:
			return false, waitForRecreation(name, busyDelay)
		}
		return lb.ProvisioningStatus == deleted, nil
	})
}

// until calls done until it returns true or an error. It returns timeoutErr if that takes
// longer than stepTimeout or ctx ends.
func until(ctx context.Context, pauses retry.Backoff, timeoutErr error, done func() (bool, error)) error {
	bound, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var result error
	if pauses.Until(bound, func(context.Context) error {
		is, err := done()
		result = err
		if !is && err == nil {
			return timeoutErr
		}
		return nil
	}, nil) != nil {
		return timeoutErr
	}
	return result
}

// fromStatus returns the statuses in Octavia's status tree; tree may be nil.
func fromStatus(tree *loadbalancers.LoadBalancer) loadBalancer {
	if tree == nil {
		return loadBalancer{}
	}
	b := loadBalancer{Status: tree.ProvisioningStatus}
	for _, l := range tree.Listeners {
		o := listener{Status: l.ProvisioningStatus}
		for _, p := range l.Pools {
			o.Pool = pool{Status: p.ProvisioningStatus, Members: fromMembers(p)}
		}
		b.Listeners = append(b.Listeners, o)
	}
	return b
}

// busy reports whether Octavia is changing any part of b.
func (b loadBalancer) busy() bool {
	return slices.ContainsFunc(b.statuses(), func(s string) bool { return strings.HasPrefix(s, pendingPrefix) })
}

// hasFailed reports whether any part of b has status ERROR.
func (b loadBalancer) hasFailed() bool { return slices.Contains(b.statuses(), failed) }
