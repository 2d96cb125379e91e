package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// How long a wake may be put off so that many become one.
const (
	countDelay = 500 * time.Millisecond
	freedDelay = 100 * time.Millisecond
	rulesDelay = 100 * time.Millisecond
)

// wake says which units a change of some other object concerns.
type wake struct {
	of client.Object
	// to maps the object as it was and as it is: what no longer concerns a unit
	// concerns it once more.
	to func(context.Context, client.Object) []types.NamespacedName
	// when tells which changes matter; before is nil for a new object, after for
	// one that is gone. A nil when means all.
	when func(before, after client.Object) bool
	// after puts the wake off.
	after time.Duration
}

// source is the wake as controller-runtime wants it.
func (w wake) source(c *cluster) source.Source {
	return source.Kind(c.cache, w.of, handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			w.add(ctx, q, nil, e.Object, e.IsInInitialList)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			w.add(ctx, q, e.ObjectOld, e.ObjectNew, false)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			w.add(ctx, q, e.Object, nil, false)
		},
	})
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (w wake) add(ctx context.Context, q queue, before, after client.Object, first bool) {
	if w.when != nil && !w.when(before, after) {
		return
	}
	for _, o := range []client.Object{before, after} {
		if o == nil {
			continue
		}
		for _, n := range w.to(ctx, o) {
			enqueue(q, n, w.after, first)
		}
	}
}

// enqueue lets what happens now go before what a start found.
func enqueue(q queue, n types.NamespacedName, after time.Duration, first bool) {
	pq, ok := q.(priorityqueue.PriorityQueue[reconcile.Request])
	if !ok {
		q.AddAfter(reconcile.Request{NamespacedName: n}, after)
		return
	}
	opts := priorityqueue.AddOpts{After: after}
	if first {
		low := handler.LowPriority
		opts.Priority = &low
	}
	pq.AddWithOpts(opts, reconcile.Request{NamespacedName: n})
}
