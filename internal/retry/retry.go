// Package retry repeats a call that fails, with pauses that double. Code that waits for
// something without an event uses it.
package retry

import (
	"context"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Backoff has the first and the longest pause between two attempts.
type Backoff struct{ First, Longest time.Duration }

// Delays returns the successive pauses: First, doubled each time, at most Longest.
func (b Backoff) Delays() wait.DelayFunc {
	return wait.Backoff{Duration: b.First, Factor: 2, Cap: b.Longest, Steps: math.MaxInt32}.DelayFunc()
}

// Until repeats do until it returns nil. It returns ctx's error if ctx ends first, and no
// other error. After each failed attempt, before the pause, it calls failed with the error.
// failed may be nil.
func (b Backoff) Until(ctx context.Context, do func(context.Context) error, failed func(error)) error {
	delay := b.Delays()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed != nil {
			failed(err)
		}
		if err := Pause(ctx, delay()); err != nil {
			return err
		}
	}
}

// Pause waits for d. It returns ctx's error if ctx ends first.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
