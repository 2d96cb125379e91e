package lab

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// progress prints one line per finished component. On a terminal it also keeps a last
// line with the components that are being started.
type progress struct {
	out   io.Writer
	width int // columns; 0 if out is no terminal or NO_COLOR is set
	total int
	begin time.Time

	mu      sync.Mutex
	done    int
	current []string
	stop    chan struct{}
	stopped sync.WaitGroup
}

func newProgress(out io.Writer, total int) *progress {
	p := &progress{out: out, total: total, begin: time.Now(), stop: make(chan struct{})}
	if file, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(file.Fd())) {
		if w, _, err := term.GetSize(int(file.Fd())); err == nil {
			p.width = max(w, 40)
			p.stopped.Go(p.tick)
		}
	}
	return p
}

// tick redraws the last line, which shows the elapsed time.
func (p *progress) tick() {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.drawCurrent()
			p.mu.Unlock()
		}
	}
}

// event handles an event of the supervisor.
func (p *progress) event(e supervise.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.State == supervise.Begun {
		p.current = append(p.current, e.Name)
	} else {
		p.current = slices.DeleteFunc(p.current, func(name string) bool { return name == e.Name })
		p.done++
		p.clear()
		fmt.Fprintf(p.out, "%s %-32s %6.1f s  %s\n", sign(e.State), e.Name, e.Took.Seconds(), word(e.State))
	}
	p.drawCurrent()
}

func sign(s supervise.State) string {
	if s == supervise.Failed {
		return "✗"
	}
	return "✓"
}

func word(s supervise.State) string {
	if s == supervise.Kept {
		return "already there"
	}
	if s == supervise.Failed {
		return "failed"
	}
	return ""
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.out, "\r\033[K")
	}
}

func (p *progress) drawCurrent() {
	if p.width == 0 || len(p.current) == 0 {
		return
	}
	line := fmt.Sprintf("  %d/%d  %.0f s  %s", p.done, p.total, time.Since(p.begin).Seconds(), strings.Join(p.current, " "))
	if len(line) >= p.width {
		line = line[:p.width-2] + "…"
	}
	fmt.Fprintf(p.out, "\r\033[K%s", line)
}

func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}
