package ovn

import (
	"errors"
	"fmt"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// commitTogether commits wants in one batch and returns the error of each.
func commitTogether(t *testing.T, f *Fabric, wants ...intent.Want) []error {
	t.Helper()
	var batch []*request
	for i, w := range wants {
		batch = append(batch, &request{unit: intent.Unit(fmt.Sprint("x/", i)), want: w, done: make(chan error, 1)})
	}
	f.committer.commit(withTimeout(t), batch)
	errs := make([]error, len(batch))
	for i, r := range batch {
		errs[i] = <-r.done
	}
	return errs
}

func TestOnlyRefusedUnitFails(t *testing.T) {
	bad := pod("q.ns", "net")
	bad.Ports[0].Parent, bad.Ports[0].Tag = "vm", 5000 // no VLAN has that number
	loner := subnet("alone", "r", false)
	for name, c := range map[string]struct {
		wants  []intent.Want
		failed []int
	}{
		"refused by the database":            {[]intent.Want{pod("p1", "net"), bad, pod("p2", "net")}, []int{1}},
		"a switch that another just made":    {[]intent.Want{loner, pod("p1", "net"), loner, group("g")}, []int{2}},
		"a port that another just made":      {[]intent.Want{pod("p1", "net"), pod("p2", "net"), pod("p1", "net"), pod("p3", "net")}, []int{2}},
		"two groups of one name and two bad": {[]intent.Want{group("g"), bad, group("g"), bad, pod("p1", "net")}, []int{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			f := dial(t, ovntest.New(t, ovntest.Northbound))
			apply(t, f, "vpc/r", vpc("r"))
			apply(t, f, "subnet/net", intent.Want{Networks: []intent.Network{{Name: "net"}}})
			for i, err := range commitTogether(t, f, c.wants...) {
				failed := false
				for _, n := range c.failed {
					failed = failed || n == i
				}
				if failed != (err != nil) {
					t.Errorf("unit %d: %v", i, err)
				}
			}
		})
	}
}

// If two units want the same name, one gets it and the other gets a Stop.
func TestTwoUnitsWantOneName(t *testing.T) {
	f := dial(t, ovntest.New(t, ovntest.Northbound))
	apply(t, f, "subnet/net", intent.Want{Networks: []intent.Network{{Name: "net"}}})
	errs := make(chan error, 2)
	for _, u := range []intent.Unit{"pod/b/node-a", "node/a.b"} {
		go func() {
			_, err := f.Apply(withTimeout(t), u, pod("node-a.b", "net"))
			errs <- err
		}()
	}
	one, other := <-errs, <-errs
	if (one == nil) == (other == nil) || !isStop(errors.Join(one, other), "NameTaken") {
		t.Errorf("%v, %v", one, other)
	}
}

// Many units that apply at the same time share transactions, and all get their rows.
func TestManyUnits(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	f := dial(t, s)
	apply(t, f, "subnet/net", intent.Want{Networks: []intent.Network{{Name: "net"}}})
	apply(t, f, "node/a", group("node_a"))
	applyPods(t, f, 300)
	if n := len(lines(s.Nbctl("lsp-list", "net"))); n != 300 {
		t.Errorf("%d ports", n)
	}
	if n, err := f.Clear(withTimeout(t)); err != nil || n != 302 {
		t.Errorf("cleared %d: %v", n, err)
	}
}

// applyPods applies n pods at the same time.
func applyPods(t testing.TB, f *Fabric, n int) {
	t.Helper()
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, err := f.Apply(t.Context(), intent.Unit(fmt.Sprint("pod/crowd/", i)), pod(fmt.Sprintf("p%d.crowd", i), "net", "node_a"))
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkPlan measures our own time for a pod. BenchmarkApply also measures the
// time of the database, which copies the switch's set of ports.
func BenchmarkPlan(b *testing.B) {
	for _, others := range []int{0, 5000} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			f := fabricWithPods(b, others)
			for b.Loop() {
				if _, err := f.current().plan("pod/ns/p", pod("p.ns", "net", "node_a"), new(rows.Names)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, others := range []int{0, 5000} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			f := fabricWithPods(b, others)
			for b.Loop() {
				for _, w := range []intent.Want{pod("p.ns", "net", "node_a"), {}} {
					if _, err := f.Apply(b.Context(), "pod/ns/p", w); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func fabricWithPods(b *testing.B, others int) *Fabric {
	f := dial(b, ovntest.New(b, ovntest.Northbound))
	apply(b, f, "subnet/net", intent.Want{Networks: []intent.Network{{Name: "net"}}})
	apply(b, f, "node/a", group("node_a"))
	applyPods(b, f, others)
	return f
}
