package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Endpoints are what a daemon serves over HTTP: /metrics, /healthz and /readyz.
type Endpoints struct {
	// Metrics may be nil; there is then no /metrics.
	Metrics prometheus.Gatherer
	// Ready returns why the daemon cannot do its work now; nil if it can. It is
	// called for each request to /readyz, from any goroutine.
	Ready func() error
}

// NoListen is the value of Options.Listen that serves nothing.
const NoListen = "0"

// ListenAndServe serves on address until ctx ends. It returns nil when ctx ends.
func (e Endpoints) ListenAndServe(ctx context.Context, address string) error {
	l, err := Listen(ctx, address)
	if err != nil {
		return err
	}
	return e.Serve(ctx, l)
}

// Listen returns a listener for Serve; nil for NoListen.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if address == NoListen {
		return nil, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics and health: %w", err)
	}
	return l, nil
}

// Serve serves on l until ctx ends; it then returns nil. It closes l. If l is nil, it
// only waits for ctx.
func (e Endpoints) Serve(ctx context.Context, l net.Listener) error {
	if l == nil {
		<-ctx.Done()
		return nil
	}
	s := &http.Server{Handler: e.Handler(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}

// Handler answers the requests. /healthz always succeeds, because a daemon that answers
// is healthy.
func (e Endpoints) Handler() http.Handler {
	mux := http.NewServeMux()
	if e.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(e.Metrics, promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := e.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
