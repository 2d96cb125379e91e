package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/isthmus-cni/isthmus/internal/retry"
)

// Keeper keeps one session open. When a session is lost, the Keeper opens a new one
// with a new replica; it uses nothing of the old one.
type Keeper struct {
	Options
	// Open is called with each new session when its replica is complete. If it
	// returns an error, the Keeper closes the session and tries again. Its context
	// ends after Options.Timeout.
	Open func(context.Context, *Session) error
	// Lost, which may be nil, is called when a session that Open accepted has ended.
	Lost func()
}

// Dial opens a session. It tries until it succeeds or ctx ends; the error then
// says why the last attempt failed.
func (k Keeper) Dial(ctx context.Context) (*Session, error) {
	k.Log = logger(k.Log)
	var s *Session
	var reason error
	err := k.Backoff.Until(ctx, func(ctx context.Context) (err error) {
		if s, err = k.open(ctx); err != nil && (reason == nil || !timedOut(err)) {
			k.logFailure(reason, err)
			reason = err // a timeout explains less than the error before it
		}
		return err
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), reason)
	}
	k.Log.Info("database connected", "database", k.Database, "endpoint", s.Endpoint())
	return s, nil
}

func (k Keeper) open(ctx context.Context) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	s, err := connect(ctx, k.Options)
	if err != nil {
		return nil, err
	}
	if err := k.Open(ctx, s); err != nil {
		s.close()
		return nil, fmt.Errorf("read %s: %w", k.Database, err)
	}
	return s, nil
}

// Stay returns when ctx ends. Until then it replaces each session that is lost; s is
// the first one. It closes the last one.
func (k Keeper) Stay(ctx context.Context, s *Session) {
	k.Log = logger(k.Log)
	for {
		s.watch(ctx, k.Probe)
		s.close()
		if k.Lost != nil {
			k.Lost()
		}
		if ctx.Err() != nil {
			return
		}
		k.Log.Warn("database connection lost", "database", k.Database, "endpoint", s.Endpoint())
		// If a server closes each connection at once, pause between the attempts.
		if retry.Pause(ctx, k.Backoff.First) != nil {
			return
		}
		next, err := k.Dial(ctx)
		if err != nil {
			return
		}
		s = next
	}
}

// logFailure logs a failed attempt, unless the last attempt failed in the same way.
func (k Keeper) logFailure(last, err error) {
	if last == nil || last.Error() != err.Error() {
		k.Log.Warn("database connection failed, trying again", "database", k.Database, "endpoints", k.Endpoints, "err", err)
	}
}

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
