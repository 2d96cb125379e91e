package openstack

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestLazy(t *testing.T) {
	t.Parallel()
	calls := 0
	l := NewLazy(func(context.Context) (*int, error) {
		if calls++; calls == 1 {
			return nil, errors.New("not yet")
		}
		return &calls, nil
	})
	if _, err := l.Get(t.Context()); err == nil || l.Load() != nil {
		t.Errorf("the failure is lost: %v", err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if v, err := l.Get(t.Context()); err != nil || v != &calls {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
	group.Wait()
	if calls != 2 || l.Load() != &calls {
		t.Errorf("%d calls", calls)
	}
}

// A caller that waits for another's sign-in returns when its own context ends.
func TestLazyLeaves(t *testing.T) {
	t.Parallel()
	inside, done := make(chan struct{}), make(chan struct{})
	l := NewLazy(func(context.Context) (*int, error) {
		close(inside)
		<-done
		return new(int), nil
	})
	var group sync.WaitGroup
	group.Go(func() { _, _ = l.Get(t.Context()) })
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(done)
	group.Wait()
}
