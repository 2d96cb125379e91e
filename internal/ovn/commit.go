package ovn

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

const (
	// batchLimit is how many units may share a transaction.
	batchLimit = 512
	// transactTimeout is when an unanswered transaction counts as failed.
	transactTimeout = 30 * time.Second
)

// commitAll sends what waits, all that waits at once, until ctx ends. While one
// transaction is under way, those of the next gather: nobody is made to wait
// for company.
func (f *Fabric) commitAll(ctx context.Context) {
	var held []*request
	for {
		if len(held) == 0 {
			select {
			case r := <-f.queue:
				held = append(held, r)
			case <-ctx.Done():
				return
			}
		}
		var batch []*request
		batch, held = f.gather(held)
		f.commit(ctx, batch)
	}
}

// gather takes what waits already. A unit that comes twice is held for the
// next transaction: its second plan depends on what the first one does.
func (f *Fabric) gather(held []*request) (batch, again []*request) {
	units := map[intent.Unit]bool{}
	sort := func(r *request) {
		if units[r.unit] {
			again = append(again, r)
			return
		}
		units[r.unit] = true
		batch = append(batch, r)
	}
	for _, r := range held {
		sort(r)
	}
	for len(batch) < batchLimit {
		select {
		case r := <-f.queue:
			sort(r)
		default:
			return batch, again
		}
	}
	return batch, again
}

func (f *Fabric) commit(ctx context.Context, batch []*request) {
	var ready []*request
	n := new(names)
	for _, r := range batch {
		if f.prepare(r, n) {
			ready = append(ready, r)
		}
	}
	slices.SortStableFunc(ready, func(a, b *request) int { return cmp.Compare(a.plan.rank(), b.plan.rank()) })
	f.send(ctx, ready)
}

// prepare plans a request, and says whether there is anything to send.
func (f *Fabric) prepare(r *request, n *names) bool {
	select {
	case <-r.abandoned:
		return false
	default:
	}
	if !f.current().Alive() {
		r.done <- errNotConnected
		return false
	}
	p, err := f.plan(r.unit, r.want, n)
	r.plan = p
	if err != nil || len(p.ops) == 0 {
		r.done <- err
		return false
	}
	return true
}

// rank orders the units of a transaction: what empties a switch or a router
// comes before what deletes it, and switches, which hold routers' peers, before
// routers.
func (p *plan) rank() int {
	rank := 0
	for _, o := range p.ops {
		if o.Op == ovsdb.OperationDelete {
			rank = max(rank, 1)
			if o.Table == nbdb.LogicalRouterTable {
				rank = 2
			}
		}
	}
	return rank
}

// send transacts a batch. If one operation is refused, its unit is out and the
// others go again; if only the whole is, the batch is split until the culprit
// stands alone.
func (f *Fabric) send(ctx context.Context, batch []*request) {
	for len(batch) > 0 {
		results, err := f.transact(ctx, batch)
		if err != nil {
			fail(batch, err)
			return
		}
		culprit, err := verdict(results, batch)
		switch {
		case err == nil:
			f.committed(results, batch)
			return
		case culprit >= 0:
			fail(batch[culprit:culprit+1], err)
			batch = slices.Delete(batch, culprit, culprit+1)
		case len(batch) == 1:
			fail(batch, err)
			return
		default:
			half := len(batch) / 2
			f.send(ctx, slices.Clone(batch[:half]))
			batch = slices.Clone(batch[half:])
		}
	}
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		r.done <- err
	}
}

func (f *Fabric) transact(ctx context.Context, batch []*request) ([]ovsdb.OperationResult, error) {
	ctx, cancel := context.WithTimeout(ctx, transactTimeout)
	defer cancel()
	var ops []ovsdb.Operation
	for _, r := range batch {
		for _, o := range r.plan.ops {
			ops = append(ops, o.Operation)
		}
	}
	results, err := f.current().Transact(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("transaction of %d units: %w", len(batch), err)
	}
	if len(results) < len(ops) {
		return nil, fmt.Errorf("transaction of %d units: %d operations, but %d answers", len(batch), len(ops), len(results))
	}
	return results, nil
}

// verdict says which request of a batch was refused, if any; -1 with an error
// if all operations were done but could not be committed together.
func verdict(results []ovsdb.OperationResult, batch []*request) (int, error) {
	i := 0
	for culprit, r := range batch {
		for _, o := range r.plan.ops {
			if results[i].Error != "" {
				return culprit, cmp.Or(o.refused, refusal(o.Operation, results[i]))
			}
			i++
		}
	}
	if i < len(results) && results[i].Error != "" {
		return -1, fmt.Errorf("commit: %s: %s", results[i].Error, results[i].Details)
	}
	return -1, nil
}

func refusal(o ovsdb.Operation, r ovsdb.OperationResult) error {
	return fmt.Errorf("%s %s: %s: %s", o.Op, what(o.Table), r.Error, r.Details)
}

// committed keeps what was learned, and tells each request how it went.
func (f *Fabric) committed(results []ovsdb.OperationResult, batch []*request) {
	members := f.current().members
	i := 0
	for _, r := range batch {
		uuids := map[string]string{}
		var err error
		for _, o := range r.plan.ops {
			if o.UUIDName != "" {
				uuids[o.UUIDName] = results[i].UUID.GoUUID
			}
			if o.must && results[i].Count == 0 {
				err = fmt.Errorf("%s %s: the row has just gone", o.Op, what(o.Table))
			}
			i++
		}
		members.apply(r.plan, uuids)
		f.log.Debug("committed", "unit", r.unit, "changes", r.plan.changed, "together", len(batch))
		r.done <- err
	}
}

// apply keeps up with a committed plan, whose new rows have these UUIDs.
func (m *members) apply(p *plan, uuids map[string]string) {
	real := func(s membership) membership {
		return membership{cmp.Or(uuids[s.port], s.port), cmp.Or(uuids[s.group], s.group)}
	}
	for _, s := range p.left {
		m.leave(real(s))
	}
	for _, s := range p.joined {
		m.join(real(s))
	}
}
