package trunk

import (
	"log/slog"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// A pod that has obtained a port of the pool is woken when the port is up, even if the
// pool handles the port at the same time.
func TestPooledPortOfAPod(t *testing.T) {
	t.Parallel()
	const port, parent, pod = "p", "vm", intent.Unit("pod/ns/a")
	for name, steps := range map[string][]func(p *Pending){
		"pod first": {
			func(p *Pending) { p.Await(port, pod, parent) },
			func(p *Pending) { p.AwaitPooled(port, parent) },
		},
		"pool first": {
			func(p *Pending) { p.AwaitPooled(port, parent) },
			func(p *Pending) { p.Await(port, pod, parent) },
		},
		"stuck meanwhile": {
			func(p *Pending) { p.AwaitPooled(port, parent) },
			func(p *Pending) { p.Await(port, pod, parent) },
			func(p *Pending) { p.ForgetPooled(port) },
		},
	} {
		p := NewPending(nil, nil, DefaultPace, slog.New(slog.DiscardHandler))
		for _, step := range steps {
			step(p)
		}
		if got := p.waiting[port]; got.Unit != pod || got.ID != port || got.Parent != parent {
			t.Errorf("%s: %+v", name, got)
		}
		p.Forget(port)
		p.AwaitPooled(port, parent)
		if p.ForgetPooled(port); p.Count() != 0 {
			t.Errorf("%s: a port of the pool is not forgotten", name)
		}
	}
}
