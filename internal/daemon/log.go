package daemon

import (
	"context"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// newLogger returns a logger that writes text to stderr, and makes client-go
// and controller-runtime log through it.
func newLogger(level slog.Level) *slog.Logger {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	klog.SetSlogLogger(log)
	ctrllog.SetLogger(ForLibraries(log))
	return log
}

// ForLibraries returns log for controller-runtime. It drops messages below Warn unless
// log writes Debug, because they report the start and stop of caches. Our own log at
// Info is for changes of the network.
func ForLibraries(log *slog.Logger) logr.Logger {
	return logr.FromSlogHandler(warnings{log.Handler()})
}

// warnings drops messages below Warn unless the embedded handler writes Debug.
type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return w.Handler.Enabled(ctx, l) && (l >= slog.LevelWarn || w.Handler.Enabled(ctx, slog.LevelDebug))
}

// WithAttrs keeps the threshold.
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }

// WithGroup keeps the threshold.
func (w warnings) WithGroup(g string) slog.Handler { return warnings{w.Handler.WithGroup(g)} }
