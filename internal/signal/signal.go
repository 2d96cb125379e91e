// Package signal notifies receivers of changes. A signal carries no value: the receiver must
// read the state again. Several calls of Set before the receiver wakes count as one.
package signal

// Signal wakes one receiver. Copies share the same signal. New creates it.
type Signal struct{ c chan struct{} }

// New returns a Signal that is not set.
func New() Signal { return Signal{make(chan struct{}, 1)} }

// Set wakes the receiver now or, if it is not waiting, when it next receives from C. It never
// blocks.
func (s Signal) Set() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// C returns the channel that yields one value after one or more calls of Set. It is never
// closed.
func (s Signal) C() <-chan struct{} { return s.c }
