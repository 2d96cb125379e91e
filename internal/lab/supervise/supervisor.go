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

// Supervisor starts and stops the processes of one lab. All its state is in Dir and in
// the kernel, so a later run can continue.
type Supervisor struct {
	// Dir has the files "<component>.pid", LogDir the files "<component>.log".
	Dir, LogDir string
	// Report is called with every event, from many goroutines. It may be nil.
	Report func(Event)
	// Timeout limits the wait for Ready (2 minutes if 0). Grace is the time
	// between SIGTERM and SIGKILL (10 seconds if 0).
	Timeout, Grace time.Duration
}

// Event reports a component's new state.
type Event struct {
	Name  string
	State State
	Took  time.Duration
	Err   error
}

// State of a component in a run of Up.
type State string

// Up reports Begun first and then one of the other states.
const (
	Begun   State = "begun"
	Started State = "started" // was not running
	Kept    State = "kept"    // was running, or is a step that was done
	Ran     State = "ran"     // is a step that was run now
	Failed  State = "failed"
)

// Up starts all components and returns when they are ready. It keeps processes that
// run already. It restarts those that are dead or were started with another command or
// environment. Components whose needs are ready are started in parallel. Up returns
// the first error and starts no further components; running processes stay.
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

// Ensure starts one component, if needed, and returns when it is ready. It ignores the
// component's needs.
func (s *Supervisor) Ensure(ctx context.Context, c Component) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	begin := time.Now()
	s.report(Event{Name: c.Name, State: Begun})
	state, err := s.ensure(ctx, c)
	if err != nil {
		if ctx.Err() != nil && context.Cause(ctx) != nil {
			return ctx.Err() // another component failed first; Up returns that error
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
		// a process that runs but does not serve is restarted
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
		err = awaitProcess(ctx, c, p, s.timeout())
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
	return Ran, await(ctx, c, nil, s.timeout())
}

// awaitProcess returns nil when c is ready. It errs when c's process has ended or
// the timeout is over.
func awaitProcess(ctx context.Context, c Component, p Process, timeout time.Duration) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		if p.Wait(watch) == nil {
			close(ended)
		}
	}()
	return await(ctx, c, ended, timeout)
}

// await returns nil when c is ready. It errs when ended is closed or the timeout is over.
// ended may be nil.
func await(ctx context.Context, c Component, ended <-chan struct{}, timeout time.Duration) error {
	if c.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// readiness has no event, so poll with growing pauses
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
			return fmt.Errorf("not ready in %s: %w", timeout, err)
		case <-timer.C:
		}
	}
}

// Stop stops a component and its process group. It returns nil if nothing runs.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	return s.end(ctx, name, s.grace())
}

// Kill kills a component and its process group with SIGKILL. Fault tests use it.
func (s *Supervisor) Kill(ctx context.Context, name string) error { return s.end(ctx, name, 0) }

func (s *Supervisor) end(ctx context.Context, name string, grace time.Duration) error {
	file := s.pidFile(name)
	if r, ok := readRecord(file); ok {
		if r.Alive() && grace > 0 {
			// let the parent stop its workers first, then kill those that remain
			if err := End(ctx, grace, r.Process); err != nil {
				return fmt.Errorf("stop %s: %w", name, err)
			}
		}
		if err := End(ctx, 0, r.Group()...); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
	}
	if err := End(ctx, grace, s.sessionLeaders(name)...); err != nil {
		return fmt.Errorf("stop a forgotten %s: %w", name, err)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Adopt records the process of component other as the process of c. From then on it
// counts as started from c. The earlier process of c must have ended. Adopt errs if
// other does not run.
func (s *Supervisor) Adopt(c Component, other string) error {
	r, recorded := readRecord(s.pidFile(other))
	if !recorded || !r.Alive() {
		return fmt.Errorf("%s does not run", other)
	}
	// rename first, so that one of the two pid files exists at any time
	if err := os.Rename(s.pidFile(other), s.pidFile(c.Name)); err != nil {
		return err
	}
	return record{r.Process, c.spec()}.write(s.pidFile(c.Name))
}

// Down stops every component that is recorded in Dir, in parallel, and then every
// process that descends from one.
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

// Processes returns all processes that descend from components, recorded or not.
func (s *Supervisor) Processes() []Process { return s.marked("") }

// Recorded returns the names of the components that have a pid file, dead or alive.
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

// Running returns the process of a component, and false if it is not alive.
func (s *Supervisor) Running(name string) (Process, bool) {
	r, ok := readRecord(s.pidFile(name))
	return r.Process, ok && r.Alive()
}

// Same reports whether the component runs and was started with c's command and
// environment.
func (s *Supervisor) Same(c Component) bool {
	r, ok := readRecord(s.pidFile(c.Name))
	return ok && r.Alive() && r.spec == c.spec()
}

// Log returns the path of a component's log.
func (s *Supervisor) Log(name string) string { return filepath.Join(s.LogDir, name+".log") }

func (s *Supervisor) pidFile(name string) string { return filepath.Join(s.Dir, name+".pid") }

func (s *Supervisor) report(e Event) {
	if s.Report != nil {
		s.Report(e)
	}
}

func (s *Supervisor) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return 2 * time.Minute
}

func (s *Supervisor) grace() time.Duration {
	if s.Grace > 0 {
		return s.Grace
	}
	return 10 * time.Second
}
