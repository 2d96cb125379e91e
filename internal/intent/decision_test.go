package intent

import (
	"errors"
	"testing"
)

// A refused object is never the same as one that wants nothing.
func TestOnlyRemovalsWantNothing(t *testing.T) {
	some := Want{Routers: []Router{{Name: "r"}}}
	stop := Stop{Reason: "InvalidSpec", Why: "it is wrong"}
	for _, row := range []struct {
		name    string
		d       Decision[int]
		called  bool
		empty   bool
		problem bool
	}{
		{"apply", Apply(some, 7), true, false, false},
		{"apply with a problem", ApplyWith(some, 7, stop), true, false, true},
		{"keep", Keep(7, stop), false, true, true},
		{"remove", Remove(7), true, true, false},
		{"withdraw", Withdraw(7, stop), true, true, true},
		{"apply nothing", Apply(Want{Fabric: FabricNeutron}, 7), false, true, true},
		{"keep without a problem", Keep(7, nil), false, true, true},
	} {
		want, called := row.d.Want()
		if called != row.called || want.Empty() != row.empty || (row.d.Problem() != nil) != row.problem || row.d.Report() != 7 {
			t.Errorf("%s: %+v, %v, %v", row.name, want, called, row.d.Problem())
		}
	}
	if _, called := (Decision[int]{}).Want(); called || (Decision[int]{}).Problem() == nil {
		t.Error("the zero Decision calls the fabric, or is no problem")
	}
	if !errors.As(ApplyWith(Want{}, 7, stop).Problem(), &stop) {
		t.Error("the problem of a decision that applies nothing is lost")
	}
}
