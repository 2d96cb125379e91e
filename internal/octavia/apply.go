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
)

// longest is how long the work of one Apply goes on after its caller has left.
const longest = 3 * time.Minute

// result is what an Apply comes to.
type result struct {
	seen intent.Observed
	err  error
}

// Apply makes w true for unit u, of which it makes the balancers only. It
// returns when that is so, or with intent.Wait when it takes longer than
// Patience: the work goes on meanwhile. Its errors are intent.Wait,
// intent.Stop, or such that trying again may help.
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	patience := time.NewTimer(f.Patience)
	defer patience.Stop()
	wait := intent.Wait{Reason: "Pending", For: fmt.Sprintf("Octavia, which is at work on %s", u), After: soon}
	done := make(chan result, 1)
	for {
		before := f.begin(ctx, u, w, done)
		if before == nil {
			break
		}
		select {
		case <-before:
		case <-patience.C:
			return intent.Observed{}, wait
		case <-ctx.Done():
			return intent.Observed{}, ctx.Err()
		}
	}
	select {
	case r := <-done:
		return r.seen, r.err
	case <-patience.C:
		return intent.Observed{}, wait
	case <-ctx.Done():
		return intent.Observed{}, ctx.Err()
	}
}

// begin starts the work, unless other work on the unit is under way: then it
// returns what is closed when that ends.
func (f *Fabric) begin(ctx context.Context, u intent.Unit, w intent.Want, done chan<- result) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.units[u]
	if e == nil {
		e = &entry{}
		f.units[u] = e
	}
	if e.flight != nil {
		return e.flight
	}
	flight := make(chan struct{})
	e.flight = flight
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longest)
	go func() {
		defer cancel()
		seen, err := f.apply(ctx, u, w, e)
		if err != nil && !openstack.IsOutcome(err) {
			err = fmt.Errorf("apply %s to Octavia: %w", u, err)
		}
		f.end(u, e, w, err)
		close(flight)
		done <- result{seen, err}
	}()
	return nil
}

func (f *Fabric) end(u intent.Unit, e *entry, w intent.Want, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.flight = nil
	if err == nil && len(w.LoadBalancers) == 0 {
		delete(f.units, u)
	}
}

func (f *Fabric) apply(ctx context.Context, u intent.Unit, w intent.Want, e *entry) (intent.Observed, error) {
	a, err := f.api(ctx)
	if err != nil {
		return intent.Observed{}, err
	}
	m := mark{f.Owner, u}
	if len(w.LoadBalancers) == 0 {
		return f.clear(ctx, a, m)
	}
	if len(w.LoadBalancers) > 1 {
		return intent.Observed{}, intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("%s wants %d load balancers, one is what it can have", u, len(w.LoadBalancers))}
	}
	b := w.LoadBalancers[0]
	if err := refuse(f.Provider, a.version, b); err != nil {
		return intent.Observed{}, err
	}
	want, err := objects(m, f.Provider, b, f.Subnet)
	if err != nil {
		return intent.Observed{}, err
	}
	have, changed, err := f.bring(ctx, a, m, want, e)
	if err != nil {
		return intent.Observed{}, err
	}
	float, floats, err := a.float(ctx, m, have.VIPPort, b.FloatingIP, &e.grounded)
	if err != nil {
		return intent.Observed{Changed: changed, LoadBalancers: map[string]intent.LoadBalancerStatus{b.Name: have.seen(nil)}}, err
	}
	f.remember(e, have, float)
	seen := intent.Observed{Changed: changed + floats, LoadBalancers: map[string]intent.LoadBalancerStatus{b.Name: have.seen(float)}}
	if float != nil {
		seen.FloatingIPs = map[string]netip.Addr{b.Name: float.Addr}
	}
	return seen, nil
}

func (f *Fabric) remember(e *entry, b balancer, float *intent.FloatingIPStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.was, e.float, e.failures = b, lead{}, 0
	if float != nil {
		e.float = lead{float.ID, b.VIPPort}
	}
}

// rounds is how often a unit is looked at in one Apply.
const rounds = 4

// bring makes want true and returns what there is then.
func (f *Fabric) bring(ctx context.Context, a *api, m mark, want balancer, e *entry) (balancer, int, error) {
	changed := 0
	for range rounds {
		have, err := a.known(ctx, m)
		if err != nil {
			return balancer{}, changed, err
		}
		steps := plan(have, &want)
		if len(steps) == 0 && !have[0].busy() {
			return have[0], changed, nil
		}
		if len(steps) > 0 {
			if err := f.mayRemake(e, have); err != nil {
				return balancer{}, changed, err
			}
			f.Log.Debug("changing", "unit", m.unit, "steps", len(steps))
			changed += len(steps)
		}
		if err := a.take(ctx, have, want, steps); err != nil {
			return balancer{}, changed, err
		}
	}
	return balancer{}, changed, intent.Wait{Reason: "Pending", For: fmt.Sprintf("Octavia to be done with load balancer %s", want.Name), After: soon}
}

// known are the balancers that bear a mark, with all that belongs to them, and
// settled.
func (a *api) known(ctx context.Context, m mark) ([]balancer, error) {
	have, err := a.of(ctx, m)
	if err != nil {
		return nil, err
	}
	for i := range have {
		if err := a.fill(ctx, &have[i]); err != nil && !errors.Is(err, errGone) {
			return nil, err
		}
	}
	return have, nil
}

// take does the steps and waits until Octavia has done what they say.
func (a *api) take(ctx context.Context, have []balancer, want balancer, steps []step) error {
	r := &run{api: a, name: want.Name, made: map[string]string{}}
	if i := slices.IndexFunc(have, func(h balancer) bool { return canBecome(h, want) }); i >= 0 {
		r.on = have[i].ID
	}
	for _, s := range steps {
		err := r.do(ctx, s)
		if errors.Is(err, errGone) && s.verb == removeBalancer {
			continue // it was going already
		}
		if errors.Is(err, errTaken) && s.verb == makeBalancer {
			return a.free(ctx, want)
		}
		if errors.Is(err, errGone) && s.verb == makeBalancer {
			return intent.Wait{Reason: "NotFound", For: err.Error(), After: later}
		}
		if err != nil {
			return lookAgain(err, want.Name)
		}
	}
	for _, s := range steps {
		if s.verb != removeBalancer {
			continue
		}
		if err := a.gone(ctx, s.id, s.name); err != nil {
			return err
		}
		a.removed(called(s.name, s.id))
	}
	if r.on == "" {
		return nil
	}
	return lookAgain(a.settled(ctx, r.on, want.Name), want.Name)
}

// lookAgain makes nothing of somebody having been quicker, or of a failure of
// Octavia's, which the next look tells, and a wait of Octavia being at work.
func lookAgain(err error, name string) error {
	switch {
	case errors.Is(err, errGone), errors.Is(err, errBroken):
		return nil
	case errors.Is(err, errBusy):
		return busyBalancer(name)
	}
	return err
}

func busyBalancer(name string) error {
	return intent.Wait{Reason: "Pending", For: "Octavia to be done with load balancer " + name, After: later}
}

func brokenBalancer(name string, after time.Duration) error {
	return intent.Wait{
		Reason: "BalancerError", After: max(after, soon),
		For: fmt.Sprintf("load balancer %s, which Octavia has put in status ERROR: it is made anew; if that goes on, Octavia's log says why", name),
	}
}

// mayRemake lets what is in error be made anew only now and then.
func (f *Fabric) mayRemake(e *entry, have []balancer) error {
	for _, h := range have {
		if !h.broken() {
			continue
		}
		if left := time.Until(e.next); left > 0 {
			return brokenBalancer(h.Name, left)
		}
		f.Log.Warn("load balancer is in error and is made anew", "name", h.Name, "id", h.ID, "failures", e.failures)
		e.next = time.Now().Add(f.Pause << min(e.failures, 6)) //nolint:forbidigo // the shell has the clock
		e.failures++
		return nil
	}
	return nil
}

// clear takes away all that the unit has.
func (f *Fabric) clear(ctx context.Context, a *api, m mark) (intent.Observed, error) {
	have, err := a.of(ctx, m)
	if err != nil {
		return intent.Observed{}, err
	}
	port := ""
	if len(have) > 0 {
		port = have[0].VIPPort
	}
	_, changed, err := a.float(ctx, m, port, nil, new(bool))
	if err != nil {
		return intent.Observed{}, err
	}
	steps := plan(have, nil)
	if err := a.take(ctx, nil, balancer{Name: string(m.unit)}, steps); err != nil {
		return intent.Observed{}, err
	}
	return intent.Observed{Changed: changed + len(steps)}, nil
}

// seen says what there is in words that all share.
func (b balancer) seen(float *intent.FloatingIPStatus) intent.LoadBalancerStatus {
	out := intent.LoadBalancerStatus{ID: b.ID, Name: b.Name, VIP: b.VIP, Port: b.VIPPort, Subnet: b.Subnet, Project: b.Project, Provider: b.Provider, FloatingIP: float}
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
