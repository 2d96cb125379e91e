package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lab returns a supervisor. All its processes are stopped when the test ends.
func lab(t *testing.T) *Supervisor {
	t.Helper()
	dir := t.TempDir()
	s := &Supervisor{Dir: filepath.Join(dir, "pid"), LogDir: filepath.Join(dir, "log"), Timeout: 10 * time.Second, Grace: 5 * time.Second}
	t.Cleanup(func() {
		if err := s.Down(context.WithoutCancel(t.Context()), 0); err != nil {
			t.Error(err)
		}
	})
	return s
}

// touches returns a process that creates file and is ready when file exists.
func touches(name, file string, needs ...string) Component {
	return Component{
		Name: name, Needs: needs,
		Argv: []string{"sh", "-c", `: > "$1"; exec sleep 1000`, "sh", file},
		Ready: func(context.Context) error {
			_, err := os.Stat(file)
			return err
		},
	}
}

func up(t *testing.T, s *Supervisor, cs ...Component) map[string]State {
	t.Helper()
	states := map[string]State{}
	var mu sync.Mutex
	s.Report = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.State != Begun {
			states[e.Name] = e.State
		}
	}
	if err := s.Up(t.Context(), cs); err != nil {
		t.Fatal(err)
	}
	return states
}

func running(t *testing.T, s *Supervisor, name string) Process {
	t.Helper()
	p, ok := s.Running(name)
	if !ok {
		t.Fatalf("%s does not run", name)
	}
	return p
}

func TestUpHeedsNeeds(t *testing.T) {
	s := lab(t)
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	ran := false
	states := up(t, s,
		Component{Name: "step", Needs: []string{"x/b"}, Do: func(context.Context) error {
			_, err := os.Stat(b)
			ran = err == nil
			return err
		}},
		Component{Name: "x/b", Needs: []string{"a"}, Prepare: func(context.Context) error {
			_, err := os.Stat(a)
			return err
		}, Argv: touches("", b).Argv, Ready: touches("", b).Ready},
		touches("a", a),
	)
	if diff := cmp.Diff(map[string]State{"a": Started, "x/b": Started, "step": Ran}, states); diff != "" || !ran {
		t.Errorf("ran %v %s", ran, diff)
	}
}

func TestUpAgainKeepsWhatRuns(t *testing.T) {
	s := lab(t)
	c := touches("a", filepath.Join(t.TempDir(), "a"))
	up(t, s, c)
	first := running(t, s, "a")
	// a new supervisor, as after the death of the first
	heir := &Supervisor{Dir: s.Dir, LogDir: s.LogDir}
	if got := up(t, heir, c); got["a"] != Kept {
		t.Errorf("a was %s", got["a"])
	}
	if running(t, heir, "a") != first {
		t.Error("a was started again")
	}
}

func TestUpMends(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	changed := touches("a", file)
	changed.Env = []string{"CONFIG=2"}
	for name, test := range map[string]struct {
		harm func(t *testing.T, s *Supervisor, p Process)
		then Component
	}{
		"killed": {then: touches("a", file), harm: func(t *testing.T, _ *Supervisor, p Process) { kill(t, p) }},
		"the pid is another's": {then: touches("a", file), harm: func(t *testing.T, s *Supervisor, p Process) {
			kill(t, p)
			other := record{Process{os.Getpid(), 1}, touches("a", file).spec()}
			if err := other.write(s.pidFile("a")); err != nil {
				t.Fatal(err)
			}
		}},
		"not recorded": {then: touches("a", file), harm: func(t *testing.T, s *Supervisor, _ Process) {
			if err := os.Remove(s.pidFile("a")); err != nil {
				t.Fatal(err)
			}
		}},
		"to be run otherwise": {then: changed, harm: func(*testing.T, *Supervisor, Process) {}},
	} {
		t.Run(name, func(t *testing.T) {
			// otherwise the process would count as ready before it has executed its program
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			s := lab(t)
			up(t, s, touches("a", file))
			old := running(t, s, "a")
			test.harm(t, s, old)
			if got := up(t, s, test.then); got["a"] != Started {
				t.Errorf("a was %s", got["a"])
			}
			if old.Alive() || running(t, s, "a") == old {
				t.Error("the old process runs still")
			}
		})
	}
}

func kill(t *testing.T, p Process) {
	t.Helper()
	if err := End(t.Context(), 0, p); err != nil {
		t.Fatal(err)
	}
}

func TestStopEndsTheGroup(t *testing.T) {
	s := lab(t)
	child := filepath.Join(t.TempDir(), "child")
	c := Component{
		Name: "a", Argv: []string{"sh", "-c", `trap '' TERM; sleep 1000 & echo $! > "$1.new"; mv "$1.new" "$1"; wait`, "sh", child},
		Ready: touches("", child).Ready,
	}
	s.Grace = 100 * time.Millisecond
	up(t, s, c)
	text, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	worker, err := Find(pid)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second Stop has nothing to do
		if err := s.Stop(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if worker.Alive() {
		t.Error("the worker runs still")
	}
}

func TestWhatRunsBecomesAnother(t *testing.T) {
	s := lab(t)
	old, other := touches("a", filepath.Join(t.TempDir(), "a")), touches("b", filepath.Join(t.TempDir(), "b"))
	up(t, s, old, other)
	running, _ := s.Running("b")
	if err := s.Kill(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(old, "b"); err != nil {
		t.Fatal(err)
	}
	if states := up(t, s, old); states["a"] != Kept {
		t.Errorf("it was %s", states["a"])
	}
	if now, _ := s.Running("a"); now != running {
		t.Errorf("%v runs, not %v", now, running)
	}
	if recorded, _ := s.Recorded(); len(recorded) != 1 {
		t.Errorf("recorded are %q", recorded)
	}
	if err := s.Adopt(old, "b"); err == nil {
		t.Error("what does not run became another")
	}
}

func TestFailureTellsTheLog(t *testing.T) {
	s := lab(t)
	begin := time.Now()
	err := s.Up(t.Context(), []Component{
		{Name: "after", Needs: []string{"a"}, Do: func(context.Context) error { t.Error("ran after a failure"); return nil }},
		{Name: "a", Argv: []string{"sh", "-c", "echo no such luck; exit 3"}, Ready: func(context.Context) error { return errors.New("not ready") }},
	})
	if err == nil || !strings.Contains(err.Error(), "a: ended before it was ready") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v", err)
	}
	if time.Since(begin) > s.Timeout/2 {
		t.Error("the end of the process was not noticed")
	}
}

func TestOrder(t *testing.T) {
	step := func(name string, needs ...string) Component { return Component{Name: name, Needs: needs} }
	for name, test := range map[string]struct {
		in   []Component
		want string // names in order, or a part of the error
	}{
		"sorted":  {[]Component{step("c", "b"), step("a"), step("b", "a")}, "a b c"},
		"circle":  {[]Component{step("a", "b"), step("b", "a")}, "a → b → a"},
		"unknown": {[]Component{step("a", "b")}, `"b" is needed by "a"`},
		"twice":   {[]Component{step("a"), step("a")}, "used twice"},
	} {
		t.Run(name, func(t *testing.T) {
			sorted, err := Order(test.in)
			var names []string
			for _, c := range sorted {
				names = append(names, c.Name)
			}
			if err == nil && strings.Join(names, " ") != test.want || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, %v", names, err)
			}
		})
	}
}

func TestGoneHeedsContext(t *testing.T) {
	self, err := Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := self.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := (Process{self.Pid, self.Start + 1}).Signal(syscall.SIGKILL); err != nil {
		t.Errorf("a process that is gone: %v", err)
	}
	if !slices.Contains(Select(func(pid int) bool { return pid == self.Pid }), self) {
		t.Error("did not find myself")
	}
}
