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
)

// list are the balancers that a query finds, without what belongs to them.
func (a *api) list(ctx context.Context, q loadbalancers.ListOpts) ([]loadbalancers.LoadBalancer, error) {
	pages, err := loadbalancers.List(a.balancers, q).AllPages(ctx)
	if err != nil {
		return nil, classifyError("list load balancers", err)
	}
	return loadbalancers.ExtractLoadBalancers(pages)
}

// of are the balancers that bear a mark, the oldest first.
func (a *api) of(ctx context.Context, m mark) ([]balancer, error) {
	found, err := a.list(ctx, loadbalancers.ListOpts{Tags: m.tags()})
	if err != nil {
		return nil, err
	}
	var out []balancer
	for _, lb := range found {
		if hasAll(lb.Tags, m.tags()) && lb.ProvisioningStatus != deleted {
			out = append(out, shown(lb))
		}
	}
	return out, nil
}

func hasAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(t string) bool { return !slices.Contains(have, t) })
}

// shown is what a list shows of a balancer.
func shown(lb loadbalancers.LoadBalancer) balancer {
	vip, _ := netip.ParseAddr(lb.VipAddress)
	return balancer{
		ID: lb.ID, Name: lb.Name, Project: lb.ProjectID, Provider: lb.Provider, VIP: vip,
		Subnet: lb.VipSubnetID, VIPPort: lb.VipPortID, Tags: lb.Tags, Status: lb.ProvisioningStatus, Changed: lb.UpdatedAt,
	}
}

// fill reads what belongs to a balancer.
func (a *api) fill(ctx context.Context, b *balancer) error {
	lpages, err := listeners.List(a.balancers, listeners.ListOpts{LoadbalancerID: b.ID}).AllPages(ctx)
	if err != nil {
		return classifyError("list listeners of load balancer "+b.Name, err)
	}
	ls, err := listeners.ExtractListeners(lpages)
	if err != nil {
		return err
	}
	ppages, err := pools.List(a.balancers, pools.ListOpts{LoadbalancerID: b.ID}).AllPages(ctx)
	if err != nil {
		return classifyError("list pools of load balancer "+b.Name, err)
	}
	ps, err := pools.ExtractPools(ppages)
	if err != nil {
		return err
	}
	tree, err := loadbalancers.GetStatuses(ctx, a.balancers, b.ID).Extract()
	if err != nil {
		return classifyError("read the status of load balancer "+b.Name, err)
	}
	assemble(b, ls, ps, tree.Loadbalancer)
	return nil
}

// assemble puts together what three calls said.
func assemble(b *balancer, ls []listeners.Listener, ps []pools.Pool, tree *loadbalancers.LoadBalancer) {
	members := map[string][]member{} // by pool
	if tree != nil {
		b.Status = tree.ProvisioningStatus
		for _, l := range tree.Listeners {
			for _, p := range l.Pools {
				members[p.ID] = membersOf(p)
			}
		}
	}
	b.Listeners, b.Strays = nil, nil
	left := map[string]pool{}
	for _, p := range ps {
		left[p.ID] = poolOf(p, members[p.ID])
	}
	for _, l := range ls {
		o := listener{
			ID: l.ID, Name: l.Name, Protocol: l.Protocol, Port: l.ProtocolPort, Status: l.ProvisioningStatus, Sources: slices.Sorted(slices.Values(l.AllowedCIDRs)),
			ClientTimeout: time.Duration(l.TimeoutClientData) * time.Millisecond, MemberTimeout: time.Duration(l.TimeoutMemberData) * time.Millisecond,
		}
		o.Pool = left[l.DefaultPoolID]
		delete(left, l.DefaultPoolID)
		b.Listeners = append(b.Listeners, o)
	}
	for _, p := range left {
		b.Strays = append(b.Strays, p)
	}
	slices.SortFunc(b.Listeners, func(x, y listener) int { return strings.Compare(x.Name+x.ID, y.Name+y.ID) })
	slices.SortFunc(b.Strays, func(x, y pool) int { return strings.Compare(x.Name+x.ID, y.Name+y.ID) })
}

func poolOf(p pools.Pool, ms []member) pool {
	return pool{
		ID: p.ID, Name: p.Name, Protocol: p.Protocol, Algorithm: p.LBMethod, Affinity: p.Persistence.Type != "",
		Status: p.ProvisioningStatus, Members: ms,
	}
}

func membersOf(p pools.Pool) []member {
	var out []member
	for _, m := range p.Members {
		out = append(out, member{ID: m.ID, Name: m.Name, Addr: m.Address, Port: m.ProtocolPort, Status: m.ProvisioningStatus})
	}
	return sortMembers(out)
}

// patient is how long one change of Octavia's is waited for.
const patient = 20 * time.Second

// settled waits until Octavia is done with a balancer, looking less and less
// often. An error is errBusy if it is not done then, errBroken if it has failed
// with the balancer itself, errGone if there is no such balancer.
func (a *api) settled(ctx context.Context, id, name string) error {
	bound, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, soon) {
		tree, err := loadbalancers.GetStatuses(ctx, a.balancers, id).Extract()
		if err != nil {
			return classifyError("read the status of load balancer "+name, err)
		}
		b := balancer{}
		if tree.Loadbalancer != nil {
			b.Status = tree.Loadbalancer.ProvisioningStatus
			for _, l := range tree.Loadbalancer.Listeners {
				o := listener{Status: l.ProvisioningStatus}
				for _, p := range l.Pools {
					o.Pool = pool{Status: p.ProvisioningStatus, Members: membersOf(p)}
				}
				b.Listeners = append(b.Listeners, o)
			}
		}
		switch {
		case b.Status == failed:
			return errBroken
		case !b.busy():
			return nil
		case rest(bound, pause) != nil:
			return errBusy
		}
	}
}

// busy tells whether Octavia is at work on anything of b.
func (b balancer) busy() bool {
	return slices.ContainsFunc(b.statuses(), func(s string) bool { return strings.HasPrefix(s, pending) })
}

// broken tells whether Octavia failed with anything of b.
func (b balancer) broken() bool { return slices.Contains(b.statuses(), failed) }

// gone waits until there is no such balancer any more.
func (a *api) gone(ctx context.Context, id, name string) error {
	bound, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, soon) {
		lb, err := loadbalancers.Get(ctx, a.balancers, id).Extract()
		switch err := classifyError("read load balancer "+name, err); {
		case errors.Is(err, errGone):
			return nil
		case err != nil:
			return err
		case lb.ProvisioningStatus == deleted:
			return nil
		case lb.ProvisioningStatus == failed:
			return brokenBalancer(name, later)
		}
		if rest(bound, pause) != nil {
			return intent.Wait{Reason: "Deleting", For: "Octavia to delete load balancer " + name, After: soon}
		}
	}
}

// rest waits for a while, or until ctx ends, which is an error.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
