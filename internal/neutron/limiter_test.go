package neutron

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

func TestPortLimiter(t *testing.T) {
	t.Parallel()
	port := plan.Step{Verb: plan.Update, Object: plan.Object{Kind: plan.KindPort}}
	group := plan.Step{Verb: plan.Delete, Object: plan.Object{Kind: plan.KindGroup}}
	synctest.Test(t, func(t *testing.T) {
		q := newPortLimiter()
		var came []string
		enter := func(ctx context.Context, name string, s plan.Step) (func(), error) {
			leave, err := q.enter(ctx, s)
			if err == nil {
				came = append(came, name)
			}
			return leave, err
		}
		must := func(name string, s plan.Step) func() {
			leave, err := enter(t.Context(), name, s)
			if err != nil {
				t.Error(err)
			}
			return leave
		}
		one, two := must("port 1", port), must("port 2", port)
		rule := must("rule", plan.Step{Verb: plan.Create, Object: plan.Object{Kind: plan.KindRule}})
		begin := func(name string, s plan.Step) { go func() { must(name, s)() }(); synctest.Wait() }
		begin("group", group)
		begin("port 3", port)
		must("another rule", plan.Step{Verb: plan.Delete, Object: plan.Object{Kind: plan.KindRule}})()
		one()
		rule()
		synctest.Wait()
		if diff := cmp.Diff([]string{"port 1", "port 2", "rule", "another rule"}, came); diff != "" {
			t.Error("a group does not go while a port is worked on:", diff)
		}
		two()
		synctest.Wait()
		if diff := cmp.Diff([]string{"group", "port 3"}, came[4:]); diff != "" {
			t.Error("who came first:", diff)
		}
		stay := must("port 4", port)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := enter(ctx, "nobody", group); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		must("port 5", port)() // a waiter that has given up blocks no other
		stay()
	})
}

// Many pods at once make only a few concurrent calls, and all get their ports.
func TestFewConcurrentCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, began := newPortLimiter(), 0
		next := make(chan struct{})
		for range 3 * maxPortCalls {
			go func() {
				leave, err := q.enter(t.Context(), plan.Step{Verb: plan.Create, Object: plan.Object{Kind: plan.KindPort}})
				if err != nil {
					t.Error(err)
					return
				}
				began++
				<-next
				leave()
			}()
			synctest.Wait()
		}
		for all := maxPortCalls; all <= 3*maxPortCalls; all += maxPortCalls {
			if began != all {
				t.Fatalf("%d calls have begun, want %d", began, all)
			}
			for range maxPortCalls {
				next <- struct{}{}
				synctest.Wait()
			}
		}
	})
}
