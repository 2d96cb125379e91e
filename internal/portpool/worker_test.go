package portpool

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calls is a fake Neutron whose answers the test sets.
type calls struct {
	create func(k Key, n int) ([]Port, error)
	found  chan struct{}
}

func (c calls) CreatePorts(_ context.Context, k Key, n int) ([]Port, error) { return c.create(k, n) }

func (calls) CleanPort(_ context.Context, p Port) (Port, error) {
	p.Clean = true
	return p, nil
}

func (calls) DeletePorts(context.Context, []Port) ([]Port, error) { return nil, nil }

func (c calls) FindPorts(context.Context) error {
	close(c.found)
	return nil
}

func worker(t *testing.T, c calls, l Limits) *Worker {
	t.Helper()
	w := New(Options{Neutron: c, Limits: &l, Pause: time.Millisecond, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

// If the answer to a call is lost, the worker looks for the ports before it creates
// others.
func TestWorkerFindsPortsAfterLostAnswer(t *testing.T) {
	t.Parallel()
	failed, again := make(chan struct{}), make(chan struct{})
	c := calls{found: make(chan struct{})}
	c.create = func(Key, int) ([]Port, error) {
		select {
		case <-failed:
			close(again)
			return []Port{readyPort("b", "n1")}, nil
		default:
			close(failed)
			return nil, errors.New("no answer")
		}
	}
	w := worker(t, c, Limits{Min: 1, Batch: 1})
	w.Ask(request("n1"), false)
	<-c.found
	<-again
}

// After a refusal the worker looks for no ports, and does not retry a hopeless call.
func TestWorkerStopsAfterRefusal(t *testing.T) {
	t.Parallel()
	asked := make(chan Key, 10)
	c := calls{create: func(k Key, _ int) ([]Port, error) {
		asked <- k
		if k.Node == "n1" {
			return nil, intent.Stop{Reason: "Refused"}
		}
		return []Port{readyPort("a", k.Node)}, nil
	}}
	w := worker(t, c, Limits{Min: 1, Batch: 1})
	w.Ask(request("n1"), false)
	if k := <-asked; k.Node != "n1" {
		t.Errorf("%+v is filled first", k)
	}
	w.Ask(request("n2"), false)
	if k := <-asked; k.Node != "n2" {
		t.Errorf("%+v is tried again", k)
	}
}

// Stop waits for the ports that are being created. After that nothing is pooled.
func TestStopWaits(t *testing.T) {
	t.Parallel()
	reached, answer := make(chan struct{}), make(chan struct{})
	c := calls{create: func(Key, int) ([]Port, error) {
		close(reached)
		<-answer
		return []Port{readyPort("a", "n1")}, nil
	}}
	w := worker(t, c, Limits{Min: 1, Batch: 1})
	w.Ask(request("n1"), false)
	<-reached
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Stop(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(answer)
	if err := w.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	w.Ask(request("n1"), true)
	if p, any := w.Obtain(request("n1")); any || len(w.Pools()) > 0 {
		t.Errorf("there is still %+v", p)
	}
}

func TestFillRefuses(t *testing.T) {
	t.Parallel()
	var stop intent.Stop
	if _, err := New(Options{}).Fill(t.Context(), request("n1").Key, 1); !errors.As(err, &stop) || stop.Reason != "NoPools" {
		t.Errorf("%v", err)
	}
	if _, err := New(Options{Limits: &Limits{Min: 1}}).Fill(t.Context(), Key{Network: "N"}, 1); !errors.As(err, &stop) || stop.Reason != "InvalidSpec" {
		t.Errorf("%v", err)
	}
}
