package intent

import "errors"

// Decision is the result of the facts about one unit: what the network is asked
// for, the report to Kubernetes (R), and the problem, if any.
//
// A unit that is refused or whose object cannot be read keeps what it has in the
// network: its fabric is not called. Only Remove and Withdraw delete everything.
// The zero Decision keeps.
type Decision[R any] struct {
	action  action
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

// Problems of a Decision that decides nothing. The controller retries them.
var (
	errUndecided = errors.New("nothing was decided: what stands is kept")
	errNothing   = errors.New("a decision to apply wants nothing: what stands is kept")
)

// Apply makes w true. w must not be empty.
func Apply[R any](w Want, report R) Decision[R] { return ApplyWith(w, report, nil) }

// ApplyWith makes w true, which is less than the object asks for; problem says
// why. problem may be nil. w must not be empty.
func ApplyWith[R any](w Want, report R, problem error) Decision[R] {
	if w.Empty() {
		return Keep(report, errors.Join(errNothing, problem))
	}
	return Decision[R]{action: apply, want: w, report: report, problem: problem}
}

// Keep leaves everything in the network as it is: the object is refused, cannot
// be read, or it is not known what it needs. problem says which, and must not be
// nil.
func Keep[R any](report R, problem error) Decision[R] {
	return Decision[R]{action: keep, report: report, problem: problem}
}

// Remove deletes everything that the unit has: the object does not exist, or asks
// for nothing.
func Remove[R any](report R) Decision[R] { return Withdraw(report, nil) }

// Withdraw deletes everything that the unit has although its object asks for
// something: what it had was given to an earlier object of the same name, or
// another object has an older right to it. problem says why the unit gets nothing
// now.
func Withdraw[R any](report R, problem error) Decision[R] {
	return Decision[R]{action: remove, report: report, problem: problem}
}

// Want returns what the fabric must make true; an empty Want means that the
// fabric must delete everything. It returns false if everything is kept and the
// fabric must not be called.
func (d Decision[R]) Want() (Want, bool) { return d.want, d.action != keep }

// Report returns what is reported to Kubernetes in addition to the outcome.
func (d Decision[R]) Report() R { return d.report }

// Problem returns why the object does not have all that it asks for: a Wait, a
// Stop, or an error that is retried; nil if there is no problem.
func (d Decision[R]) Problem() error {
	if d.action == keep && d.problem == nil {
		return errUndecided
	}
	return d.problem
}
