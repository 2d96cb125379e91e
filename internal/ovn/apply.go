package ovn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// replicaTimeout is how long the replica may take to show a committed change. The
// server sends the change before its answer; a relay or a follower may be later.
const replicaTimeout = 5 * time.Second

// Apply makes w true for unit u. It returns when the change is committed and the
// replica shows it. Several units may share a transaction; one unit is never split
// over two. The error is an intent.Wait, an intent.Stop, or an error that is worth a
// retry.
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	f.watcher.begin(u, w)
	observed, err := f.apply(ctx, u, w)
	f.watcher.end(u, err)
	if err != nil && !isWaitOrStop(err) {
		err = fmt.Errorf("apply %s to OVN: %w", u, err)
	}
	return observed, err
}

func isWaitOrStop(err error) bool {
	var wait intent.Wait
	var stop intent.Stop
	return errors.As(err, &wait) || errors.As(err, &stop)
}

func (f *Fabric) apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	p, err := f.commit(ctx, u, w)
	if err != nil {
		// The replica may now show why the server refused the transaction.
		if _, reason := f.current().plan(u, w, new(rows.Names)); isWaitOrStop(reason) {
			return intent.Observed{}, reason
		}
		return intent.Observed{}, err
	}
	if err := f.awaitReplica(ctx, u, w); err != nil {
		return intent.Observed{}, err
	}
	return f.observe(w, p.Changed)
}

// commit commits the unit's want and returns the plan. If another client got the
// VLAN id first, commit tries again when the replica shows that client's port: the
// allocator then chooses another id.
func (f *Fabric) commit(ctx context.Context, u intent.Unit, w intent.Want) (*rows.Plan, error) {
	timer := time.NewTimer(replicaTimeout)
	defer timer.Stop()
	for {
		changed := f.watcher.replicaChanged.Next()
		p, err := f.committer.submit(ctx, f.ended, u, w)
		if !errors.Is(err, rows.ErrVLANTaken) {
			return p, err
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.ended:
			return nil, errNotConnected
		}
	}
}

// awaitReplica returns when the replica shows the want, so that nothing is left to
// do. It errs after replicaTimeout.
func (f *Fabric) awaitReplica(ctx context.Context, u intent.Unit, w intent.Want) error {
	timer := time.NewTimer(replicaTimeout)
	defer timer.Stop()
	for {
		changed := f.watcher.replicaChanged.Next()
		left, err := f.current().plan(u, w, new(rows.Names))
		if err != nil || len(left.Ops) == 0 {
			return err
		}
		select {
		case <-changed:
		case <-timer.C:
			return errors.New("committed, but somebody else has changed it again, or the database does not show it")
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ended:
			return errNotConnected
		}
	}
}

// observe returns what the replica shows of a want. The error is a Wait if a
// port that must be up is not.
func (f *Fabric) observe(w intent.Want, changed int) (intent.Observed, error) {
	o := intent.Observed{Changed: changed, Up: map[string]bool{}, Ports: map[string]intent.PortStatus{}}
	var wait error
	for _, p := range w.Ports {
		for _, m := range f.current().view().named(nbdb.LogicalSwitchPortTable, p.Name) {
			o.Up[p.Name] = isUp(m)
			if id, ok := vlanOf(m); ok {
				o.Ports[p.Name] = intent.PortStatus{Tag: id.tag}
			}
		}
		if p.MustBeUp && !o.Up[p.Name] {
			wait = cmp.Or(wait, f.notUp(p))
		}
	}
	return o, wait
}

// notUp returns the Wait for a port that is not up. The watcher notifies when the
// port comes up.
func (f *Fabric) notUp(p intent.Port) error {
	for _, m := range f.current().view().named(nbdb.LogicalSwitchPortTable, p.Parent) {
		if !isUp(m) {
			return intent.Wait{Reason: "ParentDown", For: fmt.Sprintf("port %s, which port %s is behind, to come up: is that virtual machine running, and its chassis?", p.Parent, p.Name)}
		}
	}
	return intent.Wait{Reason: PortNotUp, For: "port " + p.Name + " to come up"}
}
