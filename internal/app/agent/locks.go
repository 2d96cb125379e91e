package agent

import (
	"context"
	"fmt"
	"sync"
)

// sandboxLocks let one request at a time work on a sandbox. For example, a DEL after an
// abandoned ADD waits until the ADD has undone its steps. The zero value is ready.
type sandboxLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the sandbox is unlocked
}

// lock waits until the sandbox is unlocked and locks it. It errs if ctx ends first;
// otherwise the caller must call unlock.
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

// ifUnlocked calls f under the sandbox's lock and returns f's error. If a request has
// the lock, it does not call f and returns nil.
func (b *sandboxLocks) ifUnlocked(container string, f func() error) error {
	if b.tryLock(container) != nil {
		return nil
	}
	defer b.unlock(container)
	return f()
}

// tryLock returns nil if it has locked the sandbox; otherwise a channel that is closed
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
