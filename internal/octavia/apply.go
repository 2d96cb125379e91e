package octavia

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

const (
	// workTimeout is how long the work of one Apply may go on after Apply returned.
	workTimeout = 3 * time.Minute
	// maxRounds is how often one Apply reads, plans and executes.
	maxRounds = 4
	// maxRecreateFactor bounds the pause between recreations, in RecreateDelays.
	maxRecreateFactor = 64
)

// result is what an Apply returns.
type result struct {
	observed intent.Observed
	err      error
}

// Apply makes Octavia hold the load balancers that w asks for for unit u; it ignores the rest
// of w. It returns when that is done, or an intent.Wait after ApplyTimeout; the work then goes
// on in the background. Other errors are intent.Stop, or plain errors, which are retried.
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	timeout, cancel := context.WithTimeout(ctx, f.ApplyTimeout)
	defer cancel()
	done := make(chan result, 1)
	for {
		before := f.begin(ctx, u, w, done)
		if before == nil {
			break
		}
		select {
		case <-before:
		case <-timeout.Done():
			return intent.Observed{}, pending(ctx, u)
		}
	}
	select {
	case r := <-done:
		return r.observed, r.err
	case <-timeout.Done():
		return intent.Observed{}, pending(ctx, u)
	}
}

// pending returns ctx's error, or intent.Wait if only the timeout is over.
func pending(ctx context.Context, u intent.Unit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return intent.Wait{Reason: "Pending", For: fmt.Sprintf("Octavia to finish the changes of %s", u), After: shortDelay}
}

// begin starts the work. If other work on the unit is running, it starts
// nothing and returns a channel that is closed when that work ends.
func (f *Fabric) begin(ctx context.Context, u intent.Unit, w intent.Want, done chan<- result) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := f.units[u]
	if state == nil {
		state = &unitState{}
		f.units[u] = state
	}
	if state.running != nil {
		return state.running
	}
	running := make(chan struct{})
	state.running = running
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workTimeout)
	go func() {
		defer cancel()
		observed, err := f.apply(ctx, u, w, state)
		if err != nil && !openstack.IsOutcome(err) {
			err = fmt.Errorf("apply %s to Octavia: %w", u, err)
		}
		f.end(u, state, w, err)
		close(running)
		done <- result{observed, err}
	}()
	return nil
}

func (f *Fabric) end(u intent.Unit, state *unitState, w intent.Want, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state.running = nil
	if err == nil && len(w.LoadBalancers) == 0 {
		delete(f.units, u)
	}
}

func (f *Fabric) apply(ctx context.Context, u intent.Unit, w intent.Want, state *unitState) (intent.Observed, error) {
	c, err := f.session.Get(ctx)
	if err != nil {
		return intent.Observed{}, err
	}
	owner := f.owner(u)
	if len(w.LoadBalancers) == 0 {
		return c.deleteAll(ctx, owner)
	}
	if len(w.LoadBalancers) > 1 {
		return intent.Observed{}, intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("%s wants %d load balancers: it can have one", u, len(w.LoadBalancers))}
	}
	b := w.LoadBalancers[0]
	if err := checkSupport(f.Provider, c.version, b); err != nil {
		return intent.Observed{}, err
	}
	want, err := translate(owner, f.Provider, b, f.Subnet)
	if err != nil {
		return intent.Observed{}, err
	}
	have, changed, err := f.reconcile(ctx, c, owner, want, state)
	if err != nil {
		return intent.Observed{}, err
	}
	floating, released, err := c.floating.ensure(ctx, owner, have.VIPPort, b.FloatingIP, &state.noFloatingIP)
	if err != nil {
		return intent.Observed{Changed: changed, LoadBalancers: map[string]intent.LoadBalancerStatus{b.Name: have.status(nil)}}, err
	}
	f.remember(state, have, floating)
	return observe(b.Name, have, floating, changed+released), nil
}

// observe returns the report for a load balancer. floating is nil if it has no floating IP.
func observe(name string, have loadBalancer, floating *intent.FloatingIPStatus, changed int) intent.Observed {
	out := intent.Observed{Changed: changed, LoadBalancers: map[string]intent.LoadBalancerStatus{name: have.status(floating)}}
	if floating != nil {
		out.FloatingIPs = map[string]netip.Addr{name: floating.Addr}
	}
	return out
}

func (f *Fabric) remember(state *unitState, b loadBalancer, floating *intent.FloatingIPStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state.applied, state.floatingIP, state.recreateDelay = b, association{}, nil
	if floating != nil {
		state.floatingIP = association{floating.ID, b.VIPPort}
	}
}

// reconcile turns the owner's load balancers into want. It returns the resulting load
// balancer, and the number of changes.
func (f *Fabric) reconcile(ctx context.Context, c *client, owner openstack.Owner, want loadBalancer, state *unitState) (loadBalancer, int, error) {
	changed := 0
	for range maxRounds {
		have, err := c.readOwned(ctx, owner)
		if err != nil {
			return loadBalancer{}, changed, err
		}
		steps := plan(have, &want)
		if len(steps) == 0 && !have[0].busy() {
			return have[0], changed, nil
		}
		if len(steps) > 0 {
			if err := f.limitRecreation(state, have); err != nil {
				return loadBalancer{}, changed, err
			}
			f.Log.Debug("changing load balancer", "unit", owner.Unit, "steps", len(steps))
			changed += len(steps)
		}
		if err := c.execute(ctx, have, want, steps); err != nil {
			return loadBalancer{}, changed, err
		}
	}
	return loadBalancer{}, changed, intent.Wait{Reason: "Pending", For: "Octavia to finish changing load balancer " + want.Name, After: shortDelay}
}

// limitRecreation returns intent.Wait if a failed load balancer was recreated too
// recently to be recreated again.
func (f *Fabric) limitRecreation(state *unitState, have []loadBalancer) error {
	i := slices.IndexFunc(have, loadBalancer.hasFailed)
	if i < 0 {
		return nil
	}
	if left := time.Until(state.nextRecreation); left > 0 {
		return waitForRecreation(have[i].Name, left)
	}
	if state.recreateDelay == nil {
		state.recreateDelay = retry.Backoff{First: f.RecreateDelay, Longest: maxRecreateFactor * f.RecreateDelay}.Delays()
	}
	delay := state.recreateDelay()
	state.nextRecreation = time.Now().Add(delay) //nolint:forbidigo // the shell has the clock
	f.Log.Warn("creating a failed load balancer again", "name", have[i].Name, "id", have[i].ID, "delay", delay)
	return nil
}

// readOwned returns the owner's load balancers with all their parts, the oldest first.
func (c *client) readOwned(ctx context.Context, owner openstack.Owner) ([]loadBalancer, error) {
	have, err := c.listOwned(ctx, owner)
	if err != nil {
		return nil, err
	}
	for i := range have {
		if err := c.readParts(ctx, &have[i]); err != nil && !errors.Is(err, errNotFound) {
			return nil, err
		}
	}
	return have, nil
}

// deleteAll deletes everything that the owner has.
func (c *client) deleteAll(ctx context.Context, owner openstack.Owner) (intent.Observed, error) {
	have, err := c.listOwned(ctx, owner)
	if err != nil {
		return intent.Observed{}, err
	}
	port := ""
	if len(have) > 0 {
		port = have[0].VIPPort
	}
	_, changed, err := c.floating.ensure(ctx, owner, port, nil, new(bool))
	if err != nil {
		return intent.Observed{}, err
	}
	steps := plan(have, nil)
	if err := c.execute(ctx, nil, loadBalancer{Name: string(owner.Unit)}, steps); err != nil {
		return intent.Observed{}, err
	}
	return intent.Observed{Changed: changed + len(steps)}, nil
}

// status returns the load balancer's status for the report.
func (b loadBalancer) status(floating *intent.FloatingIPStatus) intent.LoadBalancerStatus {
	out := intent.LoadBalancerStatus{
		ID: b.ID, Name: b.Name, VIP: b.VIP, Port: b.VIPPort, Subnet: b.Subnet, Project: b.Project, Provider: b.Provider, FloatingIP: floating,
	}
	for _, l := range b.Listeners {
		o := intent.ListenerStatus{
			ID: l.ID, Pool: l.Pool.ID, Name: l.Name, Protocol: l.Protocol, Port: l.Port,
			ClientTimeout: l.ClientTimeout, MemberTimeout: l.MemberTimeout,
		}
		for _, m := range l.Pool.Members {
			addr, err := netip.ParseAddr(m.Addr)
			if err != nil {
				continue
			}
			o.Members = append(o.Members, intent.MemberStatus{ID: m.ID, Name: m.Name, Addr: addr, Port: m.Port, Subnet: m.Subnet})
		}
		out.Listeners = append(out.Listeners, o)
	}
	return out
}
