package ovn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// seenTimeout is how long the replica may take to show what was committed. The
// server sends it before its answer; a relay or a follower may not.
const seenTimeout = 5 * time.Second

// request is one unit's turn in a transaction.
type request struct {
	unit      intent.Unit
	want      intent.Want
	abandoned <-chan struct{}
	plan      *plan
	done      chan error // nil: committed, or nothing to do
}

// Apply makes w true for unit u, and returns when it is committed and can be
// seen. Units that apply at the same time share a transaction; a unit never
// spans two. Its errors are intent.Wait, intent.Stop, or such that trying again
// may help.
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	f.book.begin(u, w)
	seen, err := f.apply(ctx, u, w)
	f.book.end(u, err)
	if err != nil && !told(err) {
		err = fmt.Errorf("apply %s to OVN: %w", u, err)
	}
	return seen, err
}

// told says whether an error is an answer rather than an accident.
func told(err error) bool {
	var wait intent.Wait
	var stop intent.Stop
	return errors.As(err, &wait) || errors.As(err, &stop)
}

func (f *Fabric) apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	r, err := f.submitAgain(ctx, u, w)
	if err != nil {
		// What the database refuses may by now have a better explanation.
		if _, reason := f.plan(u, w, new(names)); told(reason) {
			return intent.Observed{}, reason
		}
		return intent.Observed{}, err
	}
	return f.await(ctx, r)
}

// submitAgain does not take it for an answer that somebody else got the VLAN id:
// there are others, as soon as the replica shows whose that one is.
func (f *Fabric) submitAgain(ctx context.Context, u intent.Unit, w intent.Want) (*request, error) {
	timer := time.NewTimer(seenTimeout)
	defer timer.Stop()
	for {
		rung := f.bell.next()
		r := &request{unit: u, want: w, abandoned: ctx.Done(), done: make(chan error, 1)}
		err := f.submit(ctx, r)
		if !errors.Is(err, errTagTaken) {
			return r, err
		}
		select {
		case <-rung:
		case <-timer.C:
			return r, err
		case <-ctx.Done():
			return r, ctx.Err()
		case <-f.ended:
			return r, errNotConnected
		}
	}
}

func (f *Fabric) submit(ctx context.Context, r *request) error {
	select {
	case f.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ended:
		return errNotConnected
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ended:
		return errNotConnected
	}
}

// await returns when the replica shows what the request wanted.
func (f *Fabric) await(ctx context.Context, r *request) (intent.Observed, error) {
	timer := time.NewTimer(seenTimeout)
	defer timer.Stop()
	for {
		rung := f.bell.next()
		left, err := f.plan(r.unit, r.want, new(names))
		if err != nil {
			return intent.Observed{}, err
		}
		if len(left.ops) == 0 {
			return f.seen(r)
		}
		select {
		case <-rung:
		case <-timer.C:
			return intent.Observed{}, errors.New("committed, but somebody else has changed it again, or the database does not show it")
		case <-ctx.Done():
			return intent.Observed{}, ctx.Err()
		case <-f.ended:
			return intent.Observed{}, errNotConnected
		}
	}
}

// plan is what is to be done for a unit as things stand.
func (f *Fabric) plan(u intent.Unit, w intent.Want, n *names) (*plan, error) {
	s := f.current()
	h, v := holder{f.owner, u}, s.view()
	have := v.of(h)
	for i, r := range have {
		if r.table == nbdb.LogicalSwitchPortTable {
			have[i].member = s.members.of(r.uuid)
		}
	}
	a := v.around(h, w, have)
	a.tags = s.siblings.tags(w.Ports, have)
	if v.err != nil {
		return nil, v.err
	}
	want, err := translate(h, w, a)
	if err != nil {
		return nil, err
	}
	p := diff(have, want, a.groups, n)
	p.unit = u
	return p, nil
}

// seen is what became of a request; a Wait if a port that it awaits is not up.
func (f *Fabric) seen(r *request) (intent.Observed, error) {
	seen := intent.Observed{Changed: r.plan.changed, Up: map[string]bool{}, Ports: map[string]intent.PortStatus{}}
	var wait error
	for _, p := range r.want.Ports {
		for _, m := range f.current().view().named(nbdb.LogicalSwitchPortTable, p.Name) {
			seen.Up[p.Name] = up(m)
			if c, is := childOf(m); is {
				seen.Ports[p.Name] = intent.PortStatus{Tag: c.tag}
			}
		}
		if p.MustBeUp && !seen.Up[p.Name] {
			wait = cmp.Or(wait, f.notUp(p))
		}
	}
	return seen, wait
}

// notUp says what a port is waiting for. An event tells when it is up.
func (f *Fabric) notUp(p intent.Port) error {
	for _, m := range f.current().view().named(nbdb.LogicalSwitchPortTable, p.Parent) {
		if !up(m) {
			return intent.Wait{Reason: "ParentDown", For: fmt.Sprintf("port %s, which port %s is behind, to come up: is that virtual machine running, and its chassis?", p.Parent, p.Name)}
		}
	}
	return intent.Wait{Reason: PortNotUp, For: "port " + p.Name + " to come up"}
}
