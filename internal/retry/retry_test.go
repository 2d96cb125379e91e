package retry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntilRepeatsWithGrowingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, at := time.Now(), []time.Duration{}
		reported := 0
		err := Backoff{First: time.Second, Longest: 4 * time.Second}.Until(t.Context(), func(context.Context) error {
			at = append(at, time.Since(start))
			if len(at) < 5 {
				return errors.New("not yet")
			}
			return nil
		}, func(error) { reported++ })
		want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 11 * time.Second}
		if err != nil || !slices.Equal(at, want) || reported != 4 {
			t.Errorf("err %v, attempts at %v, want %v, reported %d, want 4", err, at, want, reported)
		}
	})
}

func TestUntilEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		calls := 0
		err := Backoff{First: time.Minute, Longest: time.Minute}.Until(ctx, func(context.Context) error {
			calls++
			return errors.New("never")
		}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || calls != 2 {
			t.Errorf("err %v after %d calls, want the context's after 2", err, calls)
		}
	})
}
