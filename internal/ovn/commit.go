package ovn

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

const (
	// batchLimit is the largest number of units in one transaction.
	batchLimit = 512
	// transactTimeout is the time after which a transaction without an answer has
	// failed.
	transactTimeout = 30 * time.Second
)

// committer turns the units' wants into transactions, one at a time. Requests that
// arrive during a transaction share the next one. No request waits for others to
// arrive.
type committer struct {
	current func() *session
	log     *slog.Logger
	queue   chan *request
}

// request is one unit's part of a transaction.
type request struct {
	unit      intent.Unit
	want      intent.Want
	abandoned <-chan struct{} // closed when its caller no longer waits
	plan      *rows.Plan
	done      chan error // nil: committed, or nothing to do
}

func newCommitter(current func() *session, log *slog.Logger) *committer {
	return &committer{current: current, log: log, queue: make(chan *request, batchLimit)}
}

// submit commits a unit's want and returns the plan, which may be empty. It errs if
// ctx or the committer ends first.
func (c *committer) submit(ctx context.Context, ended <-chan struct{}, u intent.Unit, w intent.Want) (*rows.Plan, error) {
	r := &request{unit: u, want: w, abandoned: ctx.Done(), done: make(chan error, 1)}
	select {
	case c.queue <- r:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-ended:
		return nil, errNotConnected
	}
	select {
	case err := <-r.done:
		return r.plan, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-ended:
		return nil, errNotConnected
	}
}

// run commits batches of requests until ctx ends.
func (c *committer) run(ctx context.Context) {
	var held []*request
	for {
		if len(held) == 0 {
			select {
			case r := <-c.queue:
				held = append(held, r)
			case <-ctx.Done():
				return
			}
		}
		var batch []*request
		batch, held = c.gather(held)
		c.commit(ctx, batch)
	}
}

// gather returns the next batch. If a unit has two requests, it holds the second one
// for the next batch, because its plan depends on the result of the first.
func (c *committer) gather(waiting []*request) (batch, held []*request) {
	units := map[intent.Unit]bool{}
	add := func(r *request) {
		if units[r.unit] {
			held = append(held, r)
			return
		}
		units[r.unit] = true
		batch = append(batch, r)
	}
	for _, r := range waiting {
		add(r)
	}
	for len(batch) < batchLimit {
		select {
		case r := <-c.queue:
			add(r)
		default:
			return batch, held
		}
	}
	return batch, held
}

// commit plans a batch and sends the plans that are not empty.
func (c *committer) commit(ctx context.Context, batch []*request) {
	var ready []*request
	n := new(rows.Names)
	for _, r := range batch {
		if c.prepare(r, n) {
			ready = append(ready, r)
		}
	}
	slices.SortStableFunc(ready, func(a, b *request) int { return cmp.Compare(a.plan.Rank(), b.plan.Rank()) })
	c.send(ctx, ready)
}

// prepare plans a request and returns whether it has operations to send. If not, the
// request is done or abandoned.
func (c *committer) prepare(r *request, n *rows.Names) bool {
	select {
	case <-r.abandoned:
		return false
	default:
	}
	s := c.current()
	if !s.Alive() {
		r.done <- errNotConnected
		return false
	}
	p, err := s.plan(r.unit, r.want, n)
	r.plan = p
	if err != nil || len(p.Ops) == 0 {
		r.done <- err
		return false
	}
	return true
}

// send commits a batch. If the server refuses one operation, that request fails
// and the others are sent again. If it refuses only the commit as a whole, the
// batch is halved until the failing request is alone.
func (c *committer) send(ctx context.Context, batch []*request) {
	for len(batch) > 0 {
		results, err := c.transact(ctx, batch)
		if err != nil {
			fail(batch, err)
			return
		}
		failed, err := failedRequest(results, batch)
		switch {
		case err == nil:
			c.committed(results, batch)
			return
		case failed >= 0:
			fail(batch[failed:failed+1], err)
			batch = slices.Delete(batch, failed, failed+1)
		case len(batch) == 1:
			fail(batch, err)
			return
		default:
			half := len(batch) / 2
			c.send(ctx, slices.Clone(batch[:half]))
			batch = slices.Clone(batch[half:])
		}
	}
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		r.done <- err
	}
}

func (c *committer) transact(ctx context.Context, batch []*request) ([]ovsdb.OperationResult, error) {
	ctx, cancel := context.WithTimeout(ctx, transactTimeout)
	defer cancel()
	var ops []ovsdb.Operation
	for _, r := range batch {
		for _, o := range r.plan.Ops {
			ops = append(ops, o.Operation)
		}
	}
	results, err := c.current().Transact(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("transaction of %d units: %w", len(batch), err)
	}
	if len(results) < len(ops) {
		return nil, fmt.Errorf("transaction of %d units: %d operations, but %d answers", len(batch), len(ops), len(results))
	}
	return results, nil
}

// failedRequest returns the index and the error of the request that the server
// refused. The index is -1 if the server refused none. The error is then nil if all
// was committed, and not nil if the server refused the commit as a whole.
func failedRequest(results []ovsdb.OperationResult, batch []*request) (int, error) {
	i := 0
	for index, r := range batch {
		for _, o := range r.plan.Ops {
			if results[i].Error != "" {
				return index, cmp.Or(o.Err, operationError(o.Operation, results[i]))
			}
			i++
		}
	}
	if i < len(results) && results[i].Error != "" {
		return -1, fmt.Errorf("commit: %s: %s", results[i].Error, results[i].Details)
	}
	return -1, nil
}

func operationError(o ovsdb.Operation, r ovsdb.OperationResult) error {
	return fmt.Errorf("%s %s: %s: %s", o.Op, rows.KindOf(o.Table), r.Error, r.Details)
}

// committed records the new memberships and finishes each request.
func (c *committer) committed(results []ovsdb.OperationResult, batch []*request) {
	groups := c.current().groups
	i := 0
	for _, r := range batch {
		uuids := map[string]string{}
		var err error
		for _, o := range r.plan.Ops {
			if o.UUIDName != "" {
				uuids[o.UUIDName] = results[i].UUID.GoUUID
			}
			if o.MustMatch && results[i].Count == 0 {
				err = fmt.Errorf("%s %s: the row has just gone", o.Op, rows.KindOf(o.Table))
			}
			i++
		}
		groups.apply(r.plan, uuids)
		c.log.Debug("committed", "unit", r.unit, "changes", r.plan.Changed, "together", len(batch))
		r.done <- err
	}
}
