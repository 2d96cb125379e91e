// Package poolserver answers kubectl ko pool: it lists, fills and frees the pools
// of ready ports, on a Unix socket in the controller's container.
// internal/poolwire defines the wire format. It knows pools by an interface, and
// knows no Subnets.
package poolserver

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Server serves a Handler on a Unix socket. Everybody who may exec into the
// container may use it; there is no network port to protect.
type Server struct {
	Path string
	// Find returns the Handler, or an error if this controller has no pools now.
	Find func() (Handler, error)
	Log  *slog.Logger
}

// NeedLeaderElection returns false, so that the manager starts the server at
// once. A controller that does not lead answers with an error.
func (Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends. If it cannot listen, it only logs that, because
// pods do not need it.
func (s Server) Start(ctx context.Context) error {
	if err := s.serve(ctx); err != nil {
		s.Log.Warn("serving kubectl ko pool failed", "socket", s.Path, "err", err)
		<-ctx.Done()
	}
	return nil
}

func (s Server) serve(ctx context.Context) error {
	// A killed process leaves its socket behind.
	if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", s.Path)
	if err != nil {
		return err
	}
	if err := os.Chmod(s.Path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	h := &http.Server{Handler: Mux(s.Find), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
