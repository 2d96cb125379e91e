// Package unit runs units: it gathers the facts about an object, decides what the
// object asks of the network, applies that, and reports the outcome. It knows
// neither the kinds of objects nor the fabric.
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

// Unit is one kind of object. F are the facts about one object, T is the report
// to Kubernetes.
type Unit[F, T any] struct {
	// Kind is the prefix of the unit's name: "pod" in "pod/net2/ubuntu".
	Kind string
	// Gather reads the facts and decides nothing. An object that does not exist is
	// a fact, not an error. If something cannot be known yet, it returns an
	// intent.Wait: then nothing is changed and nothing is reported.
	Gather func(context.Context, types.NamespacedName) (F, error)
	// Decide decides and does no I/O.
	Decide func(F) intent.Decision[T]
	// Hold, if not nil, prepares the object before anything is applied: it adds
	// the finalizer.
	Hold func(context.Context, F, T) error
	// Report writes the outcome to Kubernetes and updates other state that depends
	// on it. It runs whatever the outcome is. It returns an intent.Wait for what
	// it cannot do yet.
	Report func(context.Context, F, T, Outcome) error
}

// On returns a Reconciler that runs the unit on a fabric. m may be nil.
func (u Unit[F, T]) On(f Fabric, m *Metrics, log *slog.Logger) reconcile.Reconciler {
	return reconciler[F, T]{u, f, m, log}
}

type reconciler[F, T any] struct {
	Unit[F, T]
	fabric  Fabric
	metrics *Metrics
	log     *slog.Logger
}

// Reconcile runs the unit of one object once.
func (r reconciler[F, T]) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
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
			return requeue(fmt.Errorf("hold %s: %w", name, err))
		}
	}
	start := time.Now() //nolint:forbidigo // a duration for a metric
	out := r.apply(ctx, name, d)
	r.metrics.observe(r.Kind, name, out, time.Since(start))
	if out.Observed.Changed > 0 {
		r.log.Info("changed the network", "unit", name, "rows", out.Observed.Changed)
	}
	if err := r.Report(ctx, facts, d.Report(), out); err != nil {
		return requeue(fmt.Errorf("report %s: %w", name, err))
	}
	return reconcile.Result{RequeueAfter: out.Again}, out.Retry(name)
}

// apply calls the fabric, unless everything is kept. An error of the fabric takes
// precedence over the decision's problem.
func (r reconciler[F, T]) apply(ctx context.Context, name intent.Unit, d intent.Decision[T]) Outcome {
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

// requeue schedules another run: after the time of an intent.Wait, or shortly if
// the error only means that the cache is older than the API server. Any other
// error is returned.
func requeue(err error) (reconcile.Result, error) {
	if wait := (intent.Wait{}); errors.As(err, &wait) {
		return reconcile.Result{RequeueAfter: wait.After}, nil
	}
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: cacheLag}, nil
	}
	return reconcile.Result{}, err
}

// cacheLag is how much older than the API server a cache may be.
const cacheLag = 50 * time.Millisecond

// Name returns the name of the unit of an object of that kind.
func Name(kind string, n types.NamespacedName) intent.Unit {
	if n.Namespace == "" {
		return intent.Unit(kind + "/" + n.Name)
	}
	return intent.Unit(kind + "/" + n.Namespace + "/" + n.Name)
}
