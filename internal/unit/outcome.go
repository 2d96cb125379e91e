package unit

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// State is the result of a run in one word. It is also the value of a metric's
// label.
type State string

// The states.
const (
	Done    State = "done"
	Waiting State = "waiting"
	Stopped State = "stopped"
	Failed  State = "failed"
)

// Outcome is the result of one run of a unit.
type Outcome struct {
	State    State
	Observed intent.Observed
	// Applied is true if the network has what was decided, which may be less than
	// the object asks for if there is a problem. It is false if the fabric failed.
	Applied bool
	// Kept is true if the decision was to keep everything: the fabric was not
	// called.
	Kept bool
	// Reason and Message are for a condition or an event.
	Reason, Message string
	// Again is when to run the unit again; 0 if an event will come, or if State is
	// Failed.
	Again time.Duration
	err   error
}

// outcomeOf is the only place that classifies errors of units.
func outcomeOf(seen intent.Observed, err error) Outcome {
	var wait intent.Wait
	var stop intent.Stop
	switch {
	case err == nil:
		return Outcome{State: Done, Observed: seen, Reason: "Ready"}
	case errors.As(err, &wait):
		return Outcome{State: Waiting, Observed: seen, Reason: wait.Reason, Message: err.Error(), Again: wait.After}
	case errors.As(err, &stop):
		return Outcome{State: Stopped, Observed: seen, Reason: stop.Reason, Message: err.Error()}
	}
	return Outcome{State: Failed, Observed: seen, Reason: "Retrying", Message: err.Error(), err: err}
}

// Retry returns the error for which the unit is retried; nil if a retry would not
// help.
func (o Outcome) Retry(name intent.Unit) error {
	if o.State != Failed {
		return nil
	}
	return fmt.Errorf("apply %s: %w", name, o.err)
}

// Condition returns the outcome as condition Ready of an object of that
// generation.
func (o Outcome) Condition(generation int64) metav1.Condition {
	c := metav1.Condition{
		Type: v1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: generation,
		Reason: o.Reason, Message: o.Message,
	}
	if o.State == Done {
		c.Status = metav1.ConditionTrue
	}
	return c
}
