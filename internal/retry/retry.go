// Package retry repeats a call that fails, with pauses that double. It is the
// only retry loop of the module: whoever waits for something that has no event
// uses it. It knows nothing of what it calls.
package retry

import (
	"context"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Backoff bounds the pauses between two attempts: the first one and the longest.
type Backoff struct{ First, Longest time.Duration }

// Delays returns the successive pauses: First, doubled each time, at most Longest.
func (b Backoff) Delays() wait.DelayFunc {
	return wait.Backoff{Duration: b.First, Factor: 2, Cap: b.Longest, Steps: math.MaxInt32}.DelayFunc()
}

// Until calls do until it returns nil. It returns an error only if ctx ends
// first: ctx's. failed, which may be nil, hears of each failure before the pause.
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
