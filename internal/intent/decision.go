package intent

import "errors"

// Decision is what the facts about one unit lead to: what the network is asked
// for, what is reported to Kubernetes (R), and the problem, if any.
//
// Refused is not gone. A unit whose object cannot be read or done keeps what
// stands: its fabric is not called. Only Remove and Withdraw take everything
// away, and they say so by name. The zero Decision keeps.
type Decision[R any] struct {
	do      action
	want    Want
	report  R
	problem error
}

type action int

const (
	keep action = iota
	apply
	remove
)

// Problems of a Decision that decides nothing. They are retried.
var (
	errUndecided = errors.New("nothing was decided: what stands is kept")
	errNothing   = errors.New("a decision to apply wants nothing: what stands is kept")
)

// Apply makes w true. w must not be empty.
func Apply[R any](w Want, report R) Decision[R] { return ApplyWith(w, report, nil) }

// ApplyWith makes w true, which is less than the object asks for: problem says
// why. A nil problem is none.
func ApplyWith[R any](w Want, report R, problem error) Decision[R] {
	if w.Empty() {
		return Keep(report, errors.Join(errNothing, problem))
	}
	return Decision[R]{do: apply, want: w, report: report, problem: problem}
}

// Keep leaves in the network what stands there: the object is refused, cannot be
// read, or it is not known what it needs. problem says which, and is not nil.
func Keep[R any](report R, problem error) Decision[R] {
	return Decision[R]{do: keep, report: report, problem: problem}
}

// Remove takes away all that the unit has: the object is gone, or asks for nothing.
func Remove[R any](report R) Decision[R] { return Withdraw(report, nil) }

// Withdraw takes away all that the unit has although its object asks for
// something: what it had was given to an earlier object of the name, or belongs
// to somebody with an older right. problem says why it gets nothing now.
func Withdraw[R any](report R, problem error) Decision[R] {
	return Decision[R]{do: remove, report: report, problem: problem}
}

// Want is what the fabric is to make true; it is empty if everything is to go.
// It returns false if what stands is to be kept and the fabric is not to be called.
func (d Decision[R]) Want() (Want, bool) { return d.want, d.do != keep }

// Report is what Kubernetes is told beside the outcome.
func (d Decision[R]) Report() R { return d.report }

// Problem is why the object does not have all that it asks for: a Wait, a Stop,
// or an error that is retried. It is nil if there is none.
func (d Decision[R]) Problem() error {
	if d.do == keep && d.problem == nil {
		return errUndecided
	}
	return d.problem
}
