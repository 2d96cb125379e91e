package ovn

import (
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
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Seen, error) {
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

func (f *Fabric) apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Seen, error) {
	r := &request{unit: u, want: w, abandoned: ctx.Done(), done: make(chan error, 1)}
	if err := f.submit(ctx, r); err != nil {
		// What the database refuses may by now have a better explanation.
		if _, reason := f.plan(u, w, new(names)); told(reason) {
			return intent.Seen{}, reason
		}
		return intent.Seen{}, err
	}
	return f.await(ctx, r)
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
func (f *Fabric) await(ctx context.Context, r *request) (intent.Seen, error) {
	timer := time.NewTimer(seenTimeout)
	defer timer.Stop()
	for {
		rung := f.bell.next()
		left, err := f.plan(r.unit, r.want, new(names))
		if err != nil {
			return intent.Seen{}, err
		}
		if len(left.ops) == 0 {
			return intent.Seen{Changed: r.plan.changed, Up: f.up(r.want)}, nil
		}
		select {
		case <-rung:
		case <-timer.C:
			return intent.Seen{}, errors.New("committed, but somebody else has changed it again, or the database does not show it")
		case <-ctx.Done():
			return intent.Seen{}, ctx.Err()
		case <-f.ended:
			return intent.Seen{}, errNotConnected
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

func (f *Fabric) up(w intent.Want) map[string]bool {
	v := f.current().view()
	up := map[string]bool{}
	for _, p := range w.Ports {
		for _, m := range v.named(nbdb.LogicalSwitchPortTable, p.Name) {
			state := m.(*nbdb.LogicalSwitchPort).Up
			up[p.Name] = state != nil && *state
		}
	}
	return up
}
