package agent

import (
	"context"
	"fmt"
	"sync"
)

// busy lets one request at a time work on a sandbox: a DEL that follows an
// abandoned ADD finds its end, not its middle.
type busy struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the sandbox is free again
}

// one waits its turn for the sandbox; free must be called.
func (b *busy) one(ctx context.Context, container string) (free func(), err error) {
	for {
		wait := b.take(container)
		if wait == nil {
			return func() { b.release(container) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("another request for sandbox %s is still under way: %w", container, ctx.Err())
		}
	}
}

// idle does f unless a request for the sandbox is under way.
func (b *busy) idle(container string, f func() error) error {
	if b.take(container) != nil {
		return nil
	}
	defer b.release(container)
	return f()
}

func (b *busy) take(container string) (wait chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait, ok := b.held[container]; ok {
		return wait
	}
	if b.held == nil {
		b.held = map[string]chan struct{}{}
	}
	b.held[container] = make(chan struct{})
	return nil
}

func (b *busy) release(container string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.held[container])
	delete(b.held, container)
}
