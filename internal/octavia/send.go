package octavia

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/listeners"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/pools"
)

// run is the doing of one plan.
type run struct {
	api *api
	// made are the ids of pools that the plan made, by name.
	made map[string]string
	// on is the balancer that the plan changes or makes.
	on, name string
}

// do takes one step. Where Octavia is still at work it waits, as long as ctx
// lets it, and tries again.
func (r *run) do(ctx context.Context, s step) error {
	for {
		err := classifyError(s.String(), r.send(ctx, s))
		if !errors.Is(err, errBusy) {
			return err
		}
		id := r.on
		if s.verb == removeBalancer {
			id = s.id
		}
		if id == "" {
			return err
		}
		err = r.api.settled(ctx, id, r.name)
		deletable := s.verb == removeBalancer && errors.Is(err, errBroken)
		if err != nil && !deletable {
			return err
		}
		if err := rest(ctx, 50*time.Millisecond); err != nil {
			return errBusy
		}
	}
}

func (r *run) send(ctx context.Context, s step) error {
	c := r.api.balancers
	switch s.verb {
	case makeBalancer:
		made, err := loadbalancers.Create(ctx, c, createBalancer(s.balancer)).Extract()
		if err == nil {
			r.on = made.ID
		}
		return err
	case removeBalancer:
		return ignoreGone(loadbalancers.Delete(ctx, c, s.id, loadbalancers.DeleteOpts{Cascade: true}).ExtractErr())
	case tagBalancer:
		return loadbalancers.Update(ctx, c, s.id, loadbalancers.UpdateOpts{Name: &s.balancer.Name, Tags: &s.balancer.Tags}).Err
	case makeListener:
		opts := createListener(s.listener, s.balancer.Tags)
		opts.LoadbalancerID, opts.DefaultPool, opts.DefaultPoolID = r.on, nil, r.pool(s)
		return listeners.Create(ctx, c, opts).Err
	case changeListener:
		return listeners.Update(ctx, c, s.id, updateListener(s.listener)).Err
	case removeListener:
		return ignoreGone(listeners.Delete(ctx, c, s.id).ExtractErr())
	case addMember, changeMember, removeMember:
		return r.sendMember(ctx, s)
	default:
		return r.sendPool(ctx, s)
	}
}

func (r *run) sendPool(ctx context.Context, s step) error {
	c := r.api.balancers
	switch s.verb {
	case makePool:
		opts := createPool(s.listener.Pool, s.balancer.Tags)
		opts.Members, opts.LoadbalancerID = nil, r.on
		made, err := pools.Create(ctx, c, opts).Extract()
		if err == nil {
			r.made[s.name] = made.ID
		}
		return err
	case setMembers:
		return pools.BatchUpdateMembers(ctx, c, r.pool(s), batch(s.listener.Pool)).ExtractErr()
	case changePool:
		return pools.Update(ctx, c, s.id, pools.UpdateOpts{
			LBMethod: pools.LBMethod(s.listener.Pool.Algorithm), Persistence: orNone(persistence(s.listener.Pool)),
		}).Err
	case removePool:
		return ignoreGone(pools.Delete(ctx, c, s.id).ExtractErr())
	default:
		return fmt.Errorf("no such step: %s", s)
	}
}

func (r *run) sendMember(ctx context.Context, s step) error {
	c, m := r.api.balancers, s.member
	switch s.verb {
	case addMember:
		return pools.CreateMember(ctx, c, r.pool(s), pools.CreateMemberOpts{Name: m.Name, Address: m.Addr, ProtocolPort: m.Port, SubnetID: m.Subnet}).Err
	case changeMember:
		return pools.UpdateMember(ctx, c, r.pool(s), s.id, pools.UpdateMemberOpts{Name: &m.Name}).Err
	default:
		return ignoreGone(pools.DeleteMember(ctx, c, r.pool(s), s.id).ExtractErr())
	}
}

func (r *run) pool(s step) string {
	if s.listener.Pool.ID != "" {
		return s.listener.Pool.ID
	}
	return r.made[s.name]
}

func ignoreGone(err error) error {
	if errors.Is(classifyError("", err), errGone) {
		return nil
	}
	return err
}

func createBalancer(b balancer) loadbalancers.CreateOpts {
	opts := loadbalancers.CreateOpts{
		Name: b.Name, ProjectID: b.Project, Provider: b.Provider, VipSubnetID: b.Subnet, VipAddress: b.VIP.String(), Tags: b.Tags,
	}
	for _, l := range b.Listeners {
		opts.Listeners = append(opts.Listeners, createListener(l, b.Tags))
	}
	return opts
}

func createListener(l listener, tags []string) listeners.CreateOpts {
	p := createPool(l.Pool, tags)
	return listeners.CreateOpts{
		Name: l.Name, Protocol: listeners.Protocol(l.Protocol), ProtocolPort: l.Port, Tags: tags, DefaultPool: &p,
		TimeoutClientData: millis(l.ClientTimeout), TimeoutMemberData: millis(l.MemberTimeout), AllowedCIDRs: l.Sources,
	}
}

func updateListener(l listener) listeners.UpdateOpts {
	sources := l.Sources
	if sources == nil {
		sources = []string{}
	}
	return listeners.UpdateOpts{TimeoutClientData: millis(l.ClientTimeout), TimeoutMemberData: millis(l.MemberTimeout), AllowedCIDRs: &sources}
}

func createPool(p pool, tags []string) pools.CreateOpts {
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

func batch(p pool) []pools.BatchUpdateMemberOpts {
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

// orNone is a persistence that takes away what there is.
func orNone(p *pools.SessionPersistence) *pools.SessionPersistence {
	if p == nil {
		return &pools.SessionPersistence{}
	}
	return p
}

// millis is nil for the provider's own timeout.
func millis(d time.Duration) *int {
	if d == 0 {
		return nil
	}
	ms := int(d / time.Millisecond)
	return &ms
}

// sameTimeout: what nobody asks for is as good as anything.
func sameTimeout(have, want time.Duration) bool { return want == 0 || have == want }
