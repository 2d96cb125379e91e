package portpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// Neutron has the calls to Neutron that a Worker needs. They return intent.Wait or
// intent.Stop if Neutron has refused the call. After any other error, the call may have
// been executed or not.
type Neutron interface {
	// CreatePorts creates n ports with the pool's name. It returns the ports that it
	// knows to exist, also with an error.
	CreatePorts(ctx context.Context, k Key, n int) ([]Port, error)
	// CleanPort gives a port the pool's name, and returns the changed port.
	CleanPort(ctx context.Context, p Port) (Port, error)
	// DeletePorts deletes ports that are all in the same place. It returns the ports that
	// are left, also with an error.
	DeletePorts(ctx context.Context, ports []Port) ([]Port, error)
	// FindPorts calls Sync with all ports of the pools: some may have been created by a
	// call whose answer was lost.
	FindPorts(ctx context.Context) error
}

// Options configure a Worker. Neutron and Log must be set.
type Options struct {
	Neutron Neutron
	// Limits is nil if no ports are pooled.
	Limits *Limits
	// Pause is the longest pause after a failure. If 0, the failure determines it.
	Pause time.Duration
	// Busy reports whether Neutron has more urgent calls to answer. If so, no ports are
	// created until Wake is called. Busy may be nil.
	Busy func() bool
	// Up reports whether a subport has been up. Such ports are handed out first. Up must
	// not call the Worker, and may be nil.
	Up  func(Port) bool
	Log *slog.Logger
}

// Worker has the pools, and runs their tasks.
type Worker struct {
	options Options
	wake    signal.Signal
	// running is held once by each running task, and completely by Stop.
	running *semaphore.Weighted

	mu    sync.Mutex // guards pools; never held during a call
	pools *pools
}

// moreThanTasks is more than the number of tasks that can run at the same time.
const moreThanTasks = math.MaxInt64

// Pauses after a failure that does not name one.
const (
	shortPause = time.Second
	longPause  = 10 * time.Second
)

// New returns a Worker without ports. Only Run starts tasks by itself.
func New(o Options) *Worker {
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	return &Worker{options: o, wake: signal.New(), running: semaphore.NewWeighted(moreThanTasks), pools: newPools(o.Limits, o.Up)}
}

// Wake makes Run check for tasks again.
func (w *Worker) Wake() { w.wake.Set() }

// Run keeps the pools filled until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	var again <-chan time.Time // nil: no pool is paused
	for {
		select {
		case <-w.wake.C():
		case <-again:
			again = nil
			w.locked(func(s *pools) { s.byKey.resume() })
		case <-ctx.Done():
			return
		}
		if pause := w.work(ctx); pause > 0 && again == nil {
			again = time.NewTimer(pause).C
		}
	}
}

// work runs tasks until there are none. It returns after what time to resume the paused
// pools, 0 if none is paused.
func (w *Worker) work(ctx context.Context) time.Duration {
	pause := time.Duration(0)
	for ctx.Err() == nil {
		t, err := w.doNext(ctx, func(s *pools) task { return s.next(!w.options.Busy()) })
		if t.verb == "" {
			w.locked(func(s *pools) {
				if s.byKey.anyPaused() {
					pause = max(pause, w.pauseAfter(intent.Wait{After: shortPause}))
				}
			})
			return pause
		}
		if err != nil && ctx.Err() == nil {
			w.options.Log.Warn("filling a pool of ports failed", "task", t.verb, "node", t.key.Node, "net", t.key.Network, "err", err)
			pause = max(pause, w.pauseAfter(err))
			if t.verb == deletePorts {
				return pause
			}
		}
	}
	return pause
}

func (w *Worker) pauseAfter(err error) time.Duration {
	pause := longPause
	if wait, ok := errors.AsType[intent.Wait](err); ok {
		pause = wait.After
	}
	if w.options.Pause > 0 {
		return min(pause, w.options.Pause)
	}
	return pause
}

// doNext runs the task that next returns, and returns it. It returns the zero task if
// there is none.
func (w *Worker) doNext(ctx context.Context, next func(*pools) task) (t task, err error) {
	if err := w.running.Acquire(ctx, 1); err != nil {
		return task{}, err
	}
	defer w.running.Release(1)
	w.locked(func(s *pools) { t = next(s) })
	if t.verb == "" {
		return t, nil
	}
	return t, w.do(ctx, t)
}

func (w *Worker) do(ctx context.Context, t task) error {
	result, err := w.call(ctx, t)
	w.locked(func(s *pools) { s.done(t, result, err) })
	if err != nil && t.verb == createPorts && !refused(err) {
		return errors.Join(err, w.options.Neutron.FindPorts(ctx))
	}
	return err
}

func (w *Worker) call(ctx context.Context, t task) ([]Port, error) {
	switch t.verb {
	case createPorts:
		return w.options.Neutron.CreatePorts(ctx, t.key, t.n)
	case cleanPort:
		p, err := w.options.Neutron.CleanPort(ctx, t.port)
		return []Port{p}, err
	case deletePorts:
		return w.options.Neutron.DeletePorts(ctx, t.gone)
	}
	return nil, fmt.Errorf("no such task: %s", t.verb)
}

// refused reports whether an error is Neutron's answer, so that nothing was done.
func refused(err error) bool {
	var wait intent.Wait
	var stop intent.Stop
	return errors.As(err, &wait) || errors.As(err, &stop)
}

// Stop waits for the running tasks, and removes all pools for good. Otherwise ports that
// are just being created would be left over. It returns ctx's error.
func (w *Worker) Stop(ctx context.Context) error {
	if err := w.running.Acquire(ctx, moreThanTasks); err != nil {
		return fmt.Errorf("wait for the pools of ports: %w", err)
	}
	defer w.running.Release(moreThanTasks)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pools = newPools(nil, nil)
	return nil
}

// Fill creates up to n ports for a pool, in addition to the number that is kept ready, as
// far as Max allows. The pool need not exist yet. It returns the number of ports created,
// and the errors of Neutron or an intent.Stop.
func (w *Worker) Fill(ctx context.Context, k Key, n int) (int, error) {
	switch {
	case w.options.Limits == nil:
		return 0, intent.Stop{Reason: "NoPools", Why: "no ports are made before they are asked for: set the least number of ports of a pool to more than 0"}
	case !k.Complete():
		return 0, intent.Stop{Reason: "InvalidSpec", Why: fmt.Sprintf("%+v is no pool: name its node, network, subnets and security groups", k)}
	}
	defer w.Wake() // Run retries what fails here
	for made := 0; ; {
		t, err := w.doNext(ctx, func(s *pools) task { return s.createMore(k, n-made) })
		if err != nil || t.verb == "" {
			return made, err
		}
		made += t.n
	}
}

// Free removes the selected pools and deletes their ports. A pool comes back when a pod
// asks for such ports. Free returns the number of ports, after all of them but those in
// running tasks are deleted. Ports that cannot be deleted now are deleted later.
func (w *Worker) Free(ctx context.Context, selected func(Key) bool) (freed int, err error) {
	w.locked(func(s *pools) { freed = s.drain(selected) })
	defer w.Wake()
	for {
		t, err := w.doNext(ctx, (*pools).deleteSurplus)
		if err != nil || t.verb == "" {
			return freed, err
		}
	}
}
