// Package trigger defines what runs a unit: which kind of object is watched,
// which changes matter (a predicate), and which units a change affects (a map
// function). It does not know what a unit reads or wants. Read trigger.go first.
package trigger

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Trigger runs units when an object of some kind changes.
type Trigger struct {
	// Of is an empty object of the kind that is watched.
	Of client.Object
	// Map returns the names of the units that run. It is called for both the old
	// and the new version of the object, so that a unit also runs when the object
	// no longer refers to it.
	Map MapFunc
	// Predicate tells whether a change matters; nil if every change does.
	Predicate Predicate
	// Delay postpones the run, so that many changes cause one run.
	Delay time.Duration
}

// MapFunc returns the units of one kind that depend on an object.
type MapFunc func(context.Context, client.Object) []types.NamespacedName

// Predicate tells whether a change matters. before is nil for a new object,
// after for a deleted one.
type Predicate func(before, after client.Object) bool

// Queue has the units of one kind that must run.
type Queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Source returns the trigger as a source of controller-runtime.
func (t Trigger) Source(c cache.Cache) source.Source {
	return source.Kind(c, t.Of, handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) {
			t.Enqueue(ctx, q, nil, e.Object, e.IsInInitialList)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) {
			t.Enqueue(ctx, q, e.ObjectOld, e.ObjectNew, false)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q Queue) {
			t.Enqueue(ctx, q, e.Object, nil, false)
		},
	})
}

// Enqueue adds the units that must run to q. initial is true for an object that
// existed when the controller started.
func (t Trigger) Enqueue(ctx context.Context, q Queue, before, after client.Object, initial bool) {
	if t.Predicate != nil && !t.Predicate(before, after) {
		return
	}
	for _, o := range []client.Object{before, after} {
		if o == nil {
			continue
		}
		for _, n := range t.Map(ctx, o) {
			enqueue(q, n, t.Delay, initial)
		}
	}
}

// enqueue gives changes priority over objects that existed when the controller
// started.
func enqueue(q Queue, n types.NamespacedName, delay time.Duration, initial bool) {
	pq, ok := q.(priorityqueue.PriorityQueue[reconcile.Request])
	if !ok {
		q.AddAfter(reconcile.Request{NamespacedName: n}, delay)
		return
	}
	opts := priorityqueue.AddOpts{After: delay}
	if initial {
		low := handler.LowPriority
		opts.Priority = &low
	}
	pq.AddWithOpts(opts, reconcile.Request{NamespacedName: n})
}
