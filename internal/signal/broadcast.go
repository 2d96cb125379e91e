package signal

import "sync"

// Broadcast wakes all who wait. The zero Broadcast is ready for use; it must not
// be copied. To miss nothing, a receiver calls Next before it looks.
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

// Set wakes all who wait now. It never blocks.
func (b *Broadcast) Set() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
