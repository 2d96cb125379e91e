package unit

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// recorder is a fabric that records what was applied.
type recorder struct {
	asked map[intent.Unit]intent.Want
	err   error
}

func (r *recorder) Apply(_ context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	r.asked[u] = w
	return intent.Observed{Changed: 1}, r.err
}

var (
	wait     = intent.Wait{Reason: "RouterGone", For: "the router", After: time.Minute}
	stop     = intent.Stop{Reason: "Overlap", Why: "it overlaps"}
	errPlain = errors.New("connection refused")
)

func TestOutcomes(t *testing.T) {
	for _, row := range []struct {
		name           string
		problem, apply error
		want           Outcome
		again          time.Duration
		retry          bool
	}{
		{"all is well", nil, nil, Outcome{State: Done, Applied: true, Reason: "Ready"}, 0, false},
		{"waiting", wait, nil, Outcome{State: Waiting, Applied: true, Reason: "RouterGone", Message: "waiting for the router"}, time.Minute, false},
		{"refused", stop, nil, Outcome{State: Stopped, Applied: true, Reason: "Overlap", Message: "it overlaps"}, 0, false},
		{"the fabric waits", nil, wait, Outcome{State: Waiting, Reason: "RouterGone", Message: "waiting for the router"}, time.Minute, false},
		{"the fabric's word goes first", stop, errPlain, Outcome{State: Failed, Reason: "Retrying", Message: "connection refused"}, 0, true},
	} {
		f := &recorder{asked: map[intent.Unit]intent.Want{}, err: row.apply}
		var got Outcome
		u := Unit[string, int]{
			Kind:   "pod",
			Gather: func(_ context.Context, n types.NamespacedName) (string, error) { return n.Name, nil },
			Decide: func(name string) intent.Decision[int] {
				return intent.ApplyWith(intent.Want{Groups: []intent.Group{{Name: name}}}, 7, row.problem)
			},
			Report: func(_ context.Context, _ string, report int, o Outcome) error {
				if got = o; report != 7 {
					t.Errorf("%s: told %d", row.name, report)
				}
				return nil
			},
		}
		res, err := u.On(f, nil, slog.New(slog.DiscardHandler)).Reconcile(t.Context(), request("ns", "a"))
		got.err, got.Observed, row.want.Again = nil, intent.Observed{}, row.again
		if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(Outcome{})); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
		if res.RequeueAfter != row.again || (err != nil) != row.retry {
			t.Errorf("%s: %v, %v", row.name, res, err)
		}
		if len(f.asked["pod/ns/a"].Groups) != 1 {
			t.Errorf("%s: what is wanted beside a problem was not applied", row.name)
		}
	}
}

// A refused unit keeps what it has in the network, and the problem is reported.
func TestKeptIsNotApplied(t *testing.T) {
	for _, row := range []struct {
		name string
		d    intent.Decision[int]
		want Outcome
	}{
		{"refused", intent.Keep(7, stop), Outcome{State: Stopped, Kept: true, Reason: "Overlap", Message: "it overlaps"}},
		{"waiting", intent.Keep(7, wait), Outcome{State: Waiting, Kept: true, Reason: "RouterGone", Message: "waiting for the router", Again: time.Minute}},
		{"nothing decided", intent.Decision[int]{}, Outcome{State: Failed, Kept: true, Reason: "Retrying", Message: "nothing was decided: what stands is kept"}},
	} {
		f := &recorder{asked: map[intent.Unit]intent.Want{}}
		var got Outcome
		u := Unit[int, int]{
			Kind:   "pod",
			Gather: func(context.Context, types.NamespacedName) (int, error) { return 0, nil },
			Decide: func(int) intent.Decision[int] { return row.d },
			Report: func(_ context.Context, _, _ int, o Outcome) error { got = o; return nil },
		}
		_, err := u.On(f, nil, slog.New(slog.DiscardHandler)).Reconcile(t.Context(), request("ns", "a"))
		got.err = nil
		if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(Outcome{})); diff != "" || (err != nil) != (row.want.State == Failed) || len(f.asked) > 0 {
			t.Errorf("%s: %v, applied %v\n%s", row.name, err, f.asked, diff)
		}
	}
}

func TestStaleCacheIsNoError(t *testing.T) {
	report := error(apierrors.NewConflict(schema.GroupResource{}, "a", errPlain))
	held := false
	u := Unit[int, int]{
		Kind:   "vpc",
		Gather: func(context.Context, types.NamespacedName) (int, error) { return 0, nil },
		Decide: func(int) intent.Decision[int] { return intent.Remove(0) },
		Hold:   func(context.Context, int, int) error { held = true; return nil },
		Report: func(context.Context, int, int, Outcome) error { return report },
	}
	r := u.On(&recorder{asked: map[intent.Unit]intent.Want{}}, nil, slog.New(slog.DiscardHandler))
	if res, err := r.Reconcile(t.Context(), request("", "a")); err != nil || res.RequeueAfter == 0 || !held {
		t.Errorf("%v, %v", res, err)
	}
	report = errPlain
	if _, err := r.Reconcile(t.Context(), request("", "a")); !errors.Is(err, errPlain) || !strings.Contains(err.Error(), "vpc/a") {
		t.Errorf("%v", err)
	}
}

func TestReportThatWaitsRunsAgain(t *testing.T) {
	u := Unit[string, int]{
		Gather: func(_ context.Context, n types.NamespacedName) (string, error) { return n.Name, nil },
		Decide: func(string) intent.Decision[int] { return intent.Remove(0) },
		Report: func(context.Context, string, int, Outcome) error { return wait },
	}
	f := &recorder{asked: map[intent.Unit]intent.Want{}}
	res, err := u.On(f, nil, slog.New(slog.DiscardHandler)).Reconcile(t.Context(), request("", "node1"))
	if res.RequeueAfter != wait.After || err != nil {
		t.Errorf("%v, %v", res, err)
	}
}

func TestGatherThatWaitsChangesNothing(t *testing.T) {
	f := &recorder{asked: map[intent.Unit]intent.Want{}}
	u := Unit[int, int]{Kind: "pod", Gather: func(context.Context, types.NamespacedName) (int, error) { return 0, wait }}
	res, err := u.On(f, nil, slog.New(slog.DiscardHandler)).Reconcile(t.Context(), request("ns", "a"))
	if err != nil || res.RequeueAfter != wait.After || len(f.asked) > 0 {
		t.Errorf("%v, %v, applied %v", res, err, f.asked)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.observe("pod", "pod/a/b", outcomeOf(intent.Observed{}, wait), time.Second)
	m.observe("pod", "pod/a/c", outcomeOf(intent.Observed{}, wait), time.Second)
	m.observe("pod", "pod/a/b", outcomeOf(intent.Observed{Changed: 3}, nil), time.Second)
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		for _, x := range f.Metric {
			got[f.GetName()] += x.GetGauge().GetValue() + x.GetCounter().GetValue() + float64(x.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{"isthmus_apply_duration_seconds": 3, "isthmus_changes_total": 3, "isthmus_units_waiting": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}
