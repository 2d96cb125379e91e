//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/reach"
)

// withTraffic returns the rows without SCTP, which the userspace datapath does not support.
func withTraffic(rows []reach.Row) []reach.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r reach.Row) bool { return r.Protocol == "sctp" })
}

// checkRows tries all rows, from all ends at the same time, and returns an error with the rows that
// differ, or nil.
func (s *policyWorld) checkRows(t *testing.T, c reach.Case, rows []reach.Row) error {
	t.Helper()
	from := map[string][]reach.Row{}
	for _, r := range rows {
		from[r.From] = append(from[r.From], r)
	}
	ends := slices.Sorted(maps.Keys(from))
	errs := make([]error, len(ends))
	var all sync.WaitGroup
	for i, end := range ends {
		all.Go(func() { errs[i] = s.checkRowsFrom(c, end, from[end]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (s *policyWorld) checkRowsFrom(c reach.Case, end string, rows []reach.Row) error {
	var lines []string
	for _, r := range rows {
		f, err := c.Flow(r)
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintln(r.Protocol, f.To, r.Port))
	}
	answers, err := s.probers.ask(end, func(ctx context.Context) *exec.Cmd {
		return s.command(ctx, append(s.helloCommand(end), "reach")...)
	}, lines)
	if err != nil {
		return fmt.Errorf("%s: %w", end, err)
	}
	var wrong []string
	for i, r := range rows {
		if passes := strings.HasSuffix(answers[i], " yes\n"); passes != r.Pass {
			wrong = append(wrong, fmt.Sprintf("%s (%s): passes %v, want %v", r, strings.TrimSpace(answers[i]), passes, r.Pass))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n"))
}

// probers are running processes of "hello reach" by end. A process runs until the test ends,
// because its start takes longer than a try.
type probers struct {
	t       *testing.T
	mu      sync.Mutex
	running map[string]*prober
}

type prober struct {
	in   io.Writer
	out  *bufio.Reader
	stop func()
}

// newProbers returns probers without processes. Processes that are started later are stopped
// when the test ends.
func newProbers(t *testing.T) *probers {
	p := &probers{t: t, running: map[string]*prober{}}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, one := range p.running {
			one.stop()
		}
	})
	return p
}

// ask makes an end try all lines and returns each line with its answer. If the prober fails, ask
// stops it, and the next call starts another.
func (p *probers) ask(end string, command func(context.Context) *exec.Cmd, lines []string) ([]string, error) {
	one, err := p.get(end, command)
	if err != nil {
		return nil, err
	}
	answers, err := one.ask(lines)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		one.stop()
		delete(p.running, end)
	}
	return answers, err
}

// get returns the prober of an end. It starts one if there is none.
func (p *probers) get(end string, command func(context.Context) *exec.Cmd) (*prober, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one, ok := p.running[end]; ok {
		return one, nil
	}
	one, err := startProber(context.WithoutCancel(p.t.Context()), command)
	if err == nil {
		p.running[end] = one
	}
	return one, err
}

func startProber(ctx context.Context, command func(context.Context) *exec.Cmd) (*prober, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := command(ctx)
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	stop := func() {
		cancel()
		_ = cmd.Wait() // the status is that of a killed process
	}
	return &prober{in: in, out: bufio.NewReader(out), stop: sync.OnceFunc(stop)}, nil
}

// ask errs if there is no answer within a minute.
func (p *prober) ask(lines []string) ([]string, error) {
	late := time.AfterFunc(time.Minute, p.stop)
	defer late.Stop()
	if _, err := io.WriteString(p.in, strings.Join(lines, "")+"\n"); err != nil {
		return nil, err
	}
	var answers []string
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\n" {
			break
		}
		answers = append(answers, line)
	}
	if len(answers) != len(lines) {
		return nil, fmt.Errorf("tried %d of %d", len(answers), len(lines))
	}
	return answers, nil
}
