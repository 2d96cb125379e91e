package agent

import (
	"context"
	"fmt"
	"sync"
)

// sandboxLocks let one request at a time work on a sandbox: a DEL that follows an
// abandoned ADD begins when that has undone its steps. The zero value is ready.
type sandboxLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the sandbox is unlocked
}

// lock waits until the sandbox is unlocked. It errs if ctx ends first; else unlock
// must be called.
func (b *sandboxLocks) lock(ctx context.Context, container string) (unlock func(), err error) {
	for {
		wait := b.tryLock(container)
		if wait == nil {
			return func() { b.unlock(container) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("another request for sandbox %s is still running: %w", container, ctx.Err())
		}
	}
}

// ifUnlocked calls f under the sandbox's lock. If a request has the lock, it does
// nothing and returns nil.
func (b *sandboxLocks) ifUnlocked(container string, f func() error) error {
	if b.tryLock(container) != nil {
		return nil
	}
	defer b.unlock(container)
	return f()
}

// tryLock returns nil if it has locked the sandbox, else a channel that is closed
// when the sandbox is unlocked.
func (b *sandboxLocks) tryLock(container string) (wait chan struct{}) {
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

func (b *sandboxLocks) unlock(container string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.held[container])
	delete(b.held, container)
}
