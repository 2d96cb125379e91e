// Package unit runs units: gather what matters to an object, decide what it
// asks of the network, apply that, report what came of it. It knows neither
// the kinds of objects nor the fabric.
package unit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Fabric makes a want true.
type Fabric interface {
	Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error)
}

// Unit is one kind of object: F are the facts that matter to one of them, T is
// what Kubernetes is told about it.
type Unit[F, T any] struct {
	// Kind begins the unit's name: "pod" of "pod/net2/ubuntu".
	Kind string
	// Gather reads and decides nothing. That the object is not there is a fact,
	// not an error. An intent.Wait is for what cannot be known yet: all stays as
	// it is, and nobody is told.
	Gather func(context.Context, types.NamespacedName) (F, error)
	// Decide decides and reads nothing.
	Decide func(F) intent.Decision[T]
	// Hold, if set, prepares the object before anything is applied: the finalizer.
	Hold func(context.Context, F, T) error
	// Report tells Kubernetes, and whoever else is to hear of it. It runs whatever
	// the outcome was. An intent.Wait is for what it cannot do yet.
	Report func(context.Context, F, T, Outcome) error
}

// On binds the unit to a fabric.
func (u Unit[F, T]) On(f Fabric, m *Metrics, log *slog.Logger) reconcile.Reconciler {
	return running[F, T]{u, f, m, log}
}

type running[F, T any] struct {
	Unit[F, T]
	fabric  Fabric
	metrics *Metrics
	log     *slog.Logger
}

// Reconcile brings one object's network to what the object asks for now.
func (r running[F, T]) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	name := Name(r.Kind, req.NamespacedName)
	facts, err := r.Gather(ctx, req.NamespacedName)
	if wait := (intent.Wait{}); errors.As(err, &wait) {
		return reconcile.Result{RequeueAfter: wait.After}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("gather for %s: %w", name, err)
	}
	d := r.Decide(facts)
	if r.Hold != nil {
		if err := r.Hold(ctx, facts, d.Report()); err != nil {
			return again(fmt.Errorf("hold %s: %w", name, err))
		}
	}
	start := time.Now() //nolint:forbidigo // a duration for a metric
	out := r.apply(ctx, name, d)
	r.metrics.observe(r.Kind, name, out, time.Since(start))
	if out.Observed.Changed > 0 {
		r.log.Info("changed the network", "unit", name, "rows", out.Observed.Changed)
	}
	if err := r.Report(ctx, facts, d.Report(), out); err != nil {
		return again(fmt.Errorf("report %s: %w", name, err))
	}
	return reconcile.Result{RequeueAfter: out.Again}, out.Retry(name)
}

// apply calls the fabric, unless what stands is to be kept. An error of the
// fabric's comes before the decision's problem.
func (r running[F, T]) apply(ctx context.Context, name intent.Unit, d intent.Decision[T]) Outcome {
	want, called := d.Want()
	if !called {
		out := outcomeOf(intent.Observed{}, d.Problem())
		out.Kept = true
		return out
	}
	seen, err := r.fabric.Apply(ctx, name, want)
	out := outcomeOf(seen, cmp.Or(err, d.Problem()))
	out.Applied = err == nil
	return out
}

// again tries once more, what waits when it says. That the cache was behind the
// API server is nothing to complain of.
func again(err error) (reconcile.Result, error) {
	if wait := (intent.Wait{}); errors.As(err, &wait) {
		return reconcile.Result{RequeueAfter: wait.After}, nil
	}
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: behind}, nil
	}
	return reconcile.Result{}, err
}

// behind is how long a cache may be behind.
const behind = 50 * time.Millisecond

// Name is the unit of an object of that kind.
func Name(kind string, n types.NamespacedName) intent.Unit {
	if n.Namespace == "" {
		return intent.Unit(kind + "/" + n.Name)
	}
	return intent.Unit(kind + "/" + n.Namespace + "/" + n.Name)
}
