package octavia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/listeners"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/pools"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// conflictPause is the pause between two attempts at a step that Octavia refused
// because it is still changing the load balancer.
var conflictPause = retry.Backoff{First: 50 * time.Millisecond, Longest: 50 * time.Millisecond}

// execution runs one plan.
type execution struct {
	client *client
	// createdPools has the ids of the pools that the plan created, by name.
	createdPools map[string]string
	// target is the id of the load balancer that the plan changes or creates. It is empty
	// before the creation.
	target string
	// name is the name of that load balancer, for messages.
	name string
}

// execute runs the steps and waits until Octavia has finished them. It returns nil if
// another client interfered or Octavia failed: the next read shows that.
func (c *client) execute(ctx context.Context, have []loadBalancer, want loadBalancer, steps []step) error {
	e := &execution{client: c, name: want.Name, createdPools: map[string]string{}}
	if i := slices.IndexFunc(have, func(h loadBalancer) bool { return reusable(h, want) }); i >= 0 {
		e.target = have[i].ID
	}
	for _, s := range steps {
		switch err := e.run(ctx, s); {
		case err == nil, errors.Is(err, errNotFound) && s.verb == deleteLoadBalancer:
		case errors.Is(err, errAddressTaken) && s.verb == createLoadBalancer:
			return c.resolveAddressConflict(ctx, want)
		case errors.Is(err, errNotFound) && s.verb == createLoadBalancer:
			return intent.Wait{Reason: "NotFound", For: err.Error(), After: busyDelay}
		default:
			return ignoreRaces(err, want.Name)
		}
	}
	if err := c.finishDeletions(ctx, steps); err != nil || e.target == "" {
		return err
	}
	return ignoreRaces(c.waitUntilIdle(ctx, e.target, want.Name), want.Name)
}

// finishDeletions waits until the load balancers that the steps delete are gone.
func (c *client) finishDeletions(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if s.verb != deleteLoadBalancer {
			continue
		}
		if err := c.waitUntilDeleted(ctx, s.id, s.name); err != nil {
			return err
		}
		c.removed(describeLoadBalancer(s.name, s.id))
	}
	return nil
}

// ignoreRaces returns nil for an error that the next read of the load balancer explains:
// another client deleted a resource, or Octavia failed. It returns intent.Wait if Octavia
// is still busy, and any other err unchanged.
func ignoreRaces(err error, name string) error {
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, errFailed):
		return nil
	case errors.Is(err, errBusy):
		return waitForUpdate(name)
	}
	return err
}

// run executes one step. While Octavia is still changing the load balancer, run waits and
// tries again. It returns errBusy if ctx ends before that.
func (e *execution) run(ctx context.Context, s step) error {
	var result error
	if conflictPause.Until(ctx, func(ctx context.Context) error {
		var again bool
		again, result = e.attempt(ctx, s)
		if again {
			return result
		}
		return nil
	}, nil) != nil {
		return errBusy
	}
	return result
}

// attempt makes the call of a step. If Octavia refuses it because it is still changing the load
// balancer, attempt waits for that, and returns true if the step should be tried again.
func (e *execution) attempt(ctx context.Context, s step) (again bool, err error) {
	err = classifyError(s.String(), e.call(ctx, s))
	id := e.changed(s)
	if !errors.Is(err, errBusy) || id == "" {
		return false, err
	}
	idle := e.client.waitUntilIdle(ctx, id, e.name)
	if idle == nil || errors.Is(idle, errFailed) && s.verb == deleteLoadBalancer { // a failed load balancer can be deleted
		return true, err
	}
	return false, idle
}

// changed returns the id of the load balancer that a step changes, empty if it has not
// been created yet.
func (e *execution) changed(s step) string {
	if s.verb == deleteLoadBalancer {
		return s.id
	}
	return e.target
}

// call makes the call of a step.
func (e *execution) call(ctx context.Context, s step) error {
	c := e.client.octavia
	switch s.verb {
	case createLoadBalancer:
		created, err := loadbalancers.Create(ctx, c, loadBalancerOpts(s.balancer)).Extract()
		if err == nil {
			e.target = created.ID
		}
		return err
	case deleteLoadBalancer:
		return ignoreNotFound(loadbalancers.Delete(ctx, c, s.id, loadbalancers.DeleteOpts{Cascade: true}).ExtractErr())
	case tagLoadBalancer:
		return loadbalancers.Update(ctx, c, s.id, loadbalancers.UpdateOpts{Name: &s.balancer.Name, Tags: &s.balancer.Tags}).Err
	case createListener:
		opts := listenerOpts(s.listener, s.balancer.Tags)
		opts.LoadbalancerID, opts.DefaultPool, opts.DefaultPoolID = e.target, nil, e.poolID(s)
		return listeners.Create(ctx, c, opts).Err
	case updateListener:
		return listeners.Update(ctx, c, s.id, listenerUpdateOpts(s.listener)).Err
	case deleteListener:
		return ignoreNotFound(listeners.Delete(ctx, c, s.id).ExtractErr())
	case createMember, updateMember, deleteMember:
		return e.callMember(ctx, s)
	default:
		return e.callPool(ctx, s)
	}
}

func (e *execution) callPool(ctx context.Context, s step) error {
	c := e.client.octavia
	switch s.verb {
	case createPool:
		opts := poolOpts(s.listener.Pool, s.balancer.Tags)
		opts.Members, opts.LoadbalancerID = nil, e.target
		created, err := pools.Create(ctx, c, opts).Extract()
		if err == nil {
			e.createdPools[s.name] = created.ID
		}
		return err
	case setMembers:
		return pools.BatchUpdateMembers(ctx, c, e.poolID(s), memberOpts(s.listener.Pool)).ExtractErr()
	case updatePool:
		return pools.Update(ctx, c, s.id, pools.UpdateOpts{
			LBMethod: pools.LBMethod(s.listener.Pool.Algorithm), Persistence: orNoPersistence(persistence(s.listener.Pool)),
		}).Err
	case deletePool:
		return ignoreNotFound(pools.Delete(ctx, c, s.id).ExtractErr())
	default:
		return fmt.Errorf("no such step: %s", s)
	}
}

func (e *execution) callMember(ctx context.Context, s step) error {
	c, m := e.client.octavia, s.member
	switch s.verb {
	case createMember:
		return pools.CreateMember(ctx, c, e.poolID(s), pools.CreateMemberOpts{Name: m.Name, Address: m.Addr, ProtocolPort: m.Port, SubnetID: m.Subnet}).Err
	case updateMember:
		return pools.UpdateMember(ctx, c, e.poolID(s), s.id, pools.UpdateMemberOpts{Name: &m.Name}).Err
	default:
		return ignoreNotFound(pools.DeleteMember(ctx, c, e.poolID(s), s.id).ExtractErr())
	}
}

// poolID returns the id of a step's pool, which existed before or was created by an
// earlier step.
func (e *execution) poolID(s step) string {
	if s.listener.Pool.ID != "" {
		return s.listener.Pool.ID
	}
	return e.createdPools[s.name]
}

// loadBalancerOpts returns the options to create a load balancer with all its parts.
func loadBalancerOpts(b loadBalancer) loadbalancers.CreateOpts {
	opts := loadbalancers.CreateOpts{
		Name: b.Name, ProjectID: b.Project, Provider: b.Provider, VipSubnetID: b.Subnet, VipAddress: b.VIP.String(), Tags: b.Tags,
	}
	for _, l := range b.Listeners {
		opts.Listeners = append(opts.Listeners, listenerOpts(l, b.Tags))
	}
	return opts
}

func listenerOpts(l listener, tags []string) listeners.CreateOpts {
	p := poolOpts(l.Pool, tags)
	return listeners.CreateOpts{
		Name: l.Name, Protocol: listeners.Protocol(l.Protocol), ProtocolPort: l.Port, Tags: tags, DefaultPool: &p,
		TimeoutClientData: millis(l.ClientTimeout), TimeoutMemberData: millis(l.MemberTimeout), AllowedCIDRs: l.Sources,
	}
}

func listenerUpdateOpts(l listener) listeners.UpdateOpts {
	sources := l.Sources
	if sources == nil {
		sources = []string{}
	}
	return listeners.UpdateOpts{TimeoutClientData: millis(l.ClientTimeout), TimeoutMemberData: millis(l.MemberTimeout), AllowedCIDRs: &sources}
}

func poolOpts(p pool, tags []string) pools.CreateOpts {
	opts := pools.CreateOpts{
		Name: p.Name, Protocol: pools.Protocol(p.Protocol), LBMethod: pools.LBMethod(p.Algorithm), Persistence: persistence(p), Tags: tags,
	}
	for _, m := range p.Members {
		opts.Members = append(opts.Members, pools.CreateMemberOpts{
			Name: m.Name, Address: m.Addr, ProtocolPort: m.Port, SubnetID: m.Subnet, Tags: tags,
		})
	}
	return opts
}

func memberOpts(p pool) []pools.BatchUpdateMemberOpts {
	var out []pools.BatchUpdateMemberOpts
	for _, m := range p.Members {
		out = append(out, pools.BatchUpdateMemberOpts{Name: &m.Name, Address: m.Addr, ProtocolPort: m.Port, SubnetID: &m.Subnet})
	}
	return out
}

func persistence(p pool) *pools.SessionPersistence {
	if !p.Affinity {
		return nil
	}
	return &pools.SessionPersistence{Type: "SOURCE_IP"}
}

// orNoPersistence returns p, or the empty value that removes session persistence if p is nil.
func orNoPersistence(p *pools.SessionPersistence) *pools.SessionPersistence {
	if p == nil {
		return &pools.SessionPersistence{}
	}
	return p
}

// millis returns d in milliseconds, or nil for 0, which leaves the timeout to the provider.
func millis(d time.Duration) *int {
	if d == 0 {
		return nil
	}
	ms := int(d / time.Millisecond)
	return &ms
}
