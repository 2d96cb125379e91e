package signal

import "sync"

// Broadcast wakes all receivers. The zero Broadcast is ready for use. It must not be copied.
// A receiver must call Next before it reads the state, or it may miss a change.
type Broadcast struct {
	mu sync.Mutex
	c  chan struct{}
}

// Next returns a channel that the next call of Set closes.
func (b *Broadcast) Next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

// Set wakes all present receivers. It never blocks.
func (b *Broadcast) Set() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
