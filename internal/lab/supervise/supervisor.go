package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Supervisor keeps the processes of one lab. It has no state but what stands
// in Dir and in the kernel, so that any number of runs can follow one another.
type Supervisor struct {
	// Dir holds "<component>.pid" files; LogDir "<component>.log".
	Dir, LogDir string
	// Report is told of every change, from many goroutines. nil for none.
	Report func(Event)
	// Patience bounds the wait for Ready (2 minutes if 0), Grace the wait
	// between SIGTERM and SIGKILL (10 seconds if 0).
	Patience, Grace time.Duration
}

// Event says what became of a component.
type Event struct {
	Name  string
	State State
	Took  time.Duration
	Err   error
}

// State of a component in a run of Up.
type State string

// What Up reports: Begun first, then one of the others.
const (
	Begun   State = "begun"
	Started State = "started" // was not running
	Kept    State = "kept"    // ran already, or a step that was done
	Ran     State = "ran"     // a step
	Failed  State = "failed"
)

// Up makes all components run and ready: what runs already is kept, what is
// dead or was started differently is started anew. Components whose needs are
// ready go side by side. The first failure ends the run; what runs stays.
func (s *Supervisor) Up(ctx context.Context, components []Component) error {
	sorted, err := Order(components)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ready := map[string]chan struct{}{}
	for _, c := range sorted {
		ready[c.Name] = make(chan struct{})
	}
	var all sync.WaitGroup
	for _, c := range sorted {
		all.Go(func() {
			for _, need := range c.Needs {
				select {
				case <-ready[need]:
				case <-ctx.Done():
					return
				}
			}
			if err := s.Ensure(ctx, c); err != nil {
				cancel(err)
				return
			}
			close(ready[c.Name])
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// Ensure makes one component run and ready, whatever its needs.
func (s *Supervisor) Ensure(ctx context.Context, c Component) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	begin := time.Now()
	s.report(Event{Name: c.Name, State: Begun})
	state, err := s.ensure(ctx, c)
	if err != nil {
		if ctx.Err() != nil && context.Cause(ctx) != nil {
			return ctx.Err() // another failed first; its error is the one to tell
		}
		err = fmt.Errorf("%s: %w", c.Name, err)
		state = Failed
	}
	s.report(Event{c.Name, state, time.Since(begin), err})
	return err
}

func (s *Supervisor) ensure(ctx context.Context, c Component) (State, error) {
	if len(c.Argv) == 0 {
		return s.runStep(ctx, c)
	}
	r, recorded := readRecord(s.pidFile(c.Name))
	if recorded && r.Alive() && r.spec == c.spec() {
		// one that runs but does not serve any more is as good as dead
		if err := awaitProcess(ctx, c, r.Process, 10*time.Second); err == nil || ctx.Err() != nil {
			return Kept, err
		}
	}
	if err := s.Stop(ctx, c.Name); err != nil {
		return Failed, err
	}
	offset := s.logSize(c.Name)
	p, err := s.start(ctx, c)
	if err == nil {
		err = awaitProcess(ctx, c, p, s.patience())
	}
	if err != nil {
		return Failed, s.withLog(c.Name, offset, err)
	}
	return Started, nil
}

func (s *Supervisor) runStep(ctx context.Context, c Component) (State, error) {
	if c.Done != nil && c.Done(ctx) {
		return Kept, nil
	}
	if c.Do != nil {
		if err := c.Do(ctx); err != nil {
			return Failed, err
		}
	}
	return Ran, await(ctx, c, nil, s.patience())
}

// awaitProcess returns when c is ready, or early when its process has ended.
func awaitProcess(ctx context.Context, c Component, p Process, patience time.Duration) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		if p.Gone(watch) == nil {
			close(ended)
		}
	}()
	return await(ctx, c, ended, patience)
}

// await returns when c is ready, or early when ended is closed.
func await(ctx context.Context, c Component, ended <-chan struct{}, patience time.Duration) error {
	if c.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// readiness has no event of its own: it is asked for, soon and then less often
	for pause := 20 * time.Millisecond; ; pause = min(pause*3/2, 500*time.Millisecond) {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-ended:
			timer.Stop()
			return errors.New("ended before it was ready")
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("not ready in %s: %w", patience, err)
		case <-timer.C:
		}
	}
}

// Stop ends a component and everything in its process group. One that does not
// run is no error.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	return s.end(ctx, name, s.grace())
}

// Kill is kill -9 of a component and its process group: for fault tests.
func (s *Supervisor) Kill(ctx context.Context, name string) error { return s.end(ctx, name, 0) }

func (s *Supervisor) end(ctx context.Context, name string, grace time.Duration) error {
	file := s.pidFile(name)
	if r, ok := readRecord(file); ok {
		if r.Alive() && grace > 0 {
			// workers are their parent's to end; who is left afterwards is ours
			if err := End(ctx, grace, r.Process); err != nil {
				return fmt.Errorf("stop %s: %w", name, err)
			}
		}
		if err := End(ctx, 0, r.Group()...); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
	}
	if err := End(ctx, grace, s.strays(name)...); err != nil {
		return fmt.Errorf("stop a forgotten %s: %w", name, err)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Become takes what runs as another component for c from now on: it does what c
// would, though it was started otherwise. What ran as c must have ended.
func (s *Supervisor) Become(c Component, other string) error {
	r, recorded := readRecord(s.pidFile(other))
	if !recorded || !r.Alive() {
		return fmt.Errorf("%s does not run", other)
	}
	// one file or the other tells of it at any time
	if err := os.Rename(s.pidFile(other), s.pidFile(c.Name)); err != nil {
		return err
	}
	return record{r.Process, c.spec()}.write(s.pidFile(c.Name))
}

// Down ends everything that was ever recorded in Dir, all at once.
func (s *Supervisor) Down(ctx context.Context, grace time.Duration) error {
	names, err := s.Recorded()
	if err != nil {
		return err
	}
	quick := &Supervisor{Dir: s.Dir, LogDir: s.LogDir, Grace: grace}
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = quick.Stop(ctx, name) })
	}
	all.Wait()
	return errors.Join(append(errs, End(ctx, grace, s.marked("")...))...)
}

// Processes are all that descend from components, recorded or not.
func (s *Supervisor) Processes() []Process { return s.marked("") }

// Recorded lists the components that have a pid file, dead or alive.
func (s *Supervisor) Recorded() ([]string, error) {
	var names []string
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".pid") {
			return err
		}
		name, err := filepath.Rel(s.Dir, strings.TrimSuffix(path, ".pid"))
		names = append(names, name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// Running returns the process of a component, if it lives.
func (s *Supervisor) Running(name string) (Process, bool) {
	r, ok := readRecord(s.pidFile(name))
	return r.Process, ok && r.Alive()
}

// Same tells whether a component runs and was started as c says.
func (s *Supervisor) Same(c Component) bool {
	r, ok := readRecord(s.pidFile(c.Name))
	return ok && r.Alive() && r.spec == c.spec()
}

// Log is where a component writes.
func (s *Supervisor) Log(name string) string { return filepath.Join(s.LogDir, name+".log") }

func (s *Supervisor) pidFile(name string) string { return filepath.Join(s.Dir, name+".pid") }

func (s *Supervisor) report(e Event) {
	if s.Report != nil {
		s.Report(e)
	}
}

func (s *Supervisor) patience() time.Duration {
	if s.Patience > 0 {
		return s.Patience
	}
	return 2 * time.Minute
}

func (s *Supervisor) grace() time.Duration {
	if s.Grace > 0 {
		return s.Grace
	}
	return 10 * time.Second
}
