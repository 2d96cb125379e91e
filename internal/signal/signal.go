// Package signal has the module's one notification: something has changed, look
// again. A signal that is set several times before anybody looks counts once.
package signal

// Signal wakes one receiver. Copies share it; make one with New.
type Signal struct{ c chan struct{} }

// New returns a Signal that is not set.
func New() Signal { return Signal{make(chan struct{}, 1)} }

// Set wakes the receiver, now or when it next looks. It never blocks.
func (s Signal) Set() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// C yields one value after one or more calls of Set, and is never closed.
func (s Signal) C() <-chan struct{} { return s.c }
