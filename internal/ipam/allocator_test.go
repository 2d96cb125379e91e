package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go4.org/netipx"
	"pgregory.net/rapid"
)

func TestNextIsRoundRobin(t *testing.T) {
	b := newAllocator(t, "10.0.0.0/29", "10.0.0.1", "10.0.0.3-10.0.0.4")
	first, second := next(t, b, "a"), next(t, b, "b")
	b.Free("a")
	third := next(t, b, "c")
	wrapped := next(t, b, "d")
	got := []string{first, second, third, wrapped}
	if diff := cmp.Diff([]string{"10.0.0.2", "10.0.0.5", "10.0.0.6", "10.0.0.2"}, got); diff != "" {
		t.Error("a freed address must come last:", diff)
	}
	if _, err := b.Next("n", "e"); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	b.Free("c")
	b.Continue("n", addrs("10.0.0.5"))
	if got := next(t, b, "e"); got != third {
		t.Errorf("after %s came %s", second, got)
	}
	if again := next(t, b, "b"); again != second {
		t.Errorf("asking again gave %s, not %s", again, second)
	}
}

func TestClaim(t *testing.T) {
	b := newAllocator(t, "10.0.0.0/29", "10.0.0.1")
	claim := func(owner, a string) error { return b.Claim("n", owner, []netip.Addr{netip.MustParseAddr(a)}) }
	if err := claim("a", "10.0.0.5"); err != nil {
		t.Fatal(err)
	}
	if err := claim("b", "10.0.0.5"); !errors.As(err, &Taken{}) || err.Error() != "n: 10.0.0.5 is in use by a" {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.0.8", "fd00::1"} {
		if claim("b", bad) == nil {
			t.Errorf("%s was given", bad)
		}
	}
	if err := claim("a", "10.0.0.6"); err != nil {
		t.Fatal(err)
	}
	if err := claim("b", "10.0.0.5"); err != nil {
		t.Error("a claim of another address did not release the first:", err)
	}
}

func TestHeldBeforeDefined(t *testing.T) {
	b := &Allocator{}
	// 10.0.0.1 was allocated before it was excluded.
	if err := b.Hold("n", "a", addrs("10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if err := b.Hold("n", "b", addrs("10.0.0.1")); !errors.As(err, &Taken{}) {
		t.Errorf("two hold one address: %v", err)
	}
	define(t, b, "10.0.0.0/29", "10.0.0.1")
	if got, _ := b.Counts("n"); got != (Count{Used: 1, Available: 5}) {
		t.Errorf("got %+v", got)
	}
	b.Free("a")
	if got, _ := b.Counts("n"); got != (Count{Used: 0, Available: 5}) {
		t.Errorf("got %+v", got)
	}
}

func TestEmptyAllocator(t *testing.T) {
	var b Allocator
	b.Free("a")
	b.FreeElsewhere("a", "n")
	b.Drop("n")
	if _, err := b.Next("n", "a"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := b.Claim("n", "a", addrs("10.0.0.1")); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if len(b.Held("a")) != 0 || len(b.Owners("n")) != 0 || len(b.Networks()) != 0 {
		t.Error("an empty book holds something")
	}
}

func TestTwoFamilies(t *testing.T) {
	b := &Allocator{}
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/48")}
	if err := b.Define("n", prefixes, nil); err != nil {
		t.Fatal(err)
	}
	got, err := b.Next("n", "a")
	if err != nil {
		t.Fatal(err)
	}
	if want := addrs("10.0.0.1", "fd00::1"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	v4, v6 := b.Counts("n")
	if v4 != (Count{1, 253}) || v6 != (Count{1, 1 << 53}) {
		t.Errorf("got %v %v", v4, v6)
	}
}

func TestSmallNetworks(t *testing.T) {
	for prefix, want := range map[string]int64{"10.0.0.0/30": 2, "10.0.0.0/31": 2, "10.0.0.0/32": 1, "fd00::/127": 2, "fd00::/126": 3} {
		b := newAllocator(t, prefix)
		v4, v6 := b.Counts("n")
		if got := v4.Available + v6.Available; got != want {
			t.Errorf("%s has %d addresses, want %d", prefix, got, want)
		}
		for i := range want {
			next(t, b, fmt.Sprint(i))
		}
		if _, err := b.Next("n", "more"); !errors.Is(err, ErrFull) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}

// After any steps the allocator agrees with a map. It never allocates an address
// twice, and allocates a freed address only when no other one is left.
func TestAllocatorAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := &Allocator{}
		m := model{}
		define(rt, b, "10.0.0.0/28", "10.0.0.1", "10.0.0.5-10.0.0.6")
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			owner := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}).Draw(rt, fmt.Sprint("owner", i))
			switch rapid.IntRange(0, 3).Draw(rt, fmt.Sprint("verb", i)) {
			case 0, 1:
				m.next(rt, b, owner)
			case 2:
				a := fmt.Sprintf("10.0.0.%d", rapid.IntRange(0, 16).Draw(rt, fmt.Sprint("addr", i)))
				m.claim(rt, b, owner, netip.MustParseAddr(a))
			case 3:
				b.Free(owner)
				delete(m, owner)
			}
			m.compare(rt, b)
		}
	})
}

type model map[string]netip.Addr

func (m model) excluded(a netip.Addr) bool {
	return slices.Contains([]string{"10.0.0.0", "10.0.0.1", "10.0.0.5", "10.0.0.6", "10.0.0.15", "10.0.0.16"}, a.String())
}

func (m model) owner(a netip.Addr) string {
	for o, x := range m {
		if x == a {
			return o
		}
	}
	return ""
}

func (m model) next(t *rapid.T, b *Allocator, owner string) {
	got, err := b.Next("n", owner)
	had, ok := m[owner]
	switch {
	case ok && (err != nil || got[0] != had):
		t.Fatalf("%s has %v and got %v, %v", owner, had, got, err)
	case !ok && len(m) == 11 && !errors.Is(err, ErrFull):
		t.Fatalf("full, but %s got %v, %v", owner, got, err)
	case !ok && len(m) < 11 && (err != nil || m.owner(got[0]) != "" || m.excluded(got[0])):
		t.Fatalf("%s got %v, %v", owner, got, err)
	case err == nil:
		m[owner] = got[0]
	}
}

func (m model) claim(t *rapid.T, b *Allocator, owner string, a netip.Addr) {
	err := b.Claim("n", owner, []netip.Addr{a})
	other := m.owner(a)
	if ok := other == owner || other == "" && !m.excluded(a); ok != (err == nil) {
		t.Fatalf("%s claims %v of %q: %v", owner, a, other, err)
	}
	if err == nil {
		m[owner] = a
	}
}

func (m model) compare(t *rapid.T, b *Allocator) {
	if c, _ := b.Counts("n"); c != (Count{int64(len(m)), 11 - int64(len(m))}) {
		t.Fatalf("counts %+v, want %d used", c, len(m))
	}
	for o, a := range m {
		if l := b.Held(o); len(l) != 1 || !slices.Equal(l[0].Addrs, []netip.Addr{a}) {
			t.Fatalf("%s holds %v, want %v", o, l, a)
		}
	}
}

func TestUsedNext(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var u offsetSet
		in := map[uint64]bool{}
		base := rapid.SampledFrom([]uint64{0, 4000, 1 << 30, ^uint64(0) - 300}).Draw(rt, "base")
		for i := range rapid.IntRange(1, 8).Draw(rt, "runs") {
			start := base + rapid.Uint64Range(0, 200).Draw(rt, fmt.Sprint("start", i))
			add := rapid.Bool().Draw(rt, fmt.Sprint("add", i))
			for x := start; x <= start+100 && x >= start; x++ {
				if add {
					u.add(x)
				} else {
					u.remove(x)
				}
				in[x] = add
			}
		}
		from := base + rapid.Uint64Range(0, 300).Draw(rt, "from")
		want, ok := from, true
		for in[want] && ok {
			want++
			ok = want != 0
		}
		if got, found := u.next(from); found != ok || ok && got != want {
			rt.Fatalf("next(%d) = %d, %v; want %d, %v", from, got, found, want, ok)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, held := range []int{0, 1000, 60000} {
		b.Run(fmt.Sprint("beside ", held), func(b *testing.B) {
			k := &Allocator{}
			define(b, k, "10.0.0.0/16", "10.0.0.1")
			for i := range held {
				_, _ = k.Next("n", fmt.Sprint("held", i))
			}
			for b.Loop() {
				_, _ = k.Next("n", "a")
				k.Free("a")
			}
		})
	}
}

type testingT interface {
	Helper()
	Fatal(args ...any)
}

func newAllocator(t testingT, prefix string, excluded ...string) *Allocator {
	t.Helper()
	b := &Allocator{}
	define(t, b, prefix, excluded...)
	return b
}

func define(t testingT, b *Allocator, prefix string, excluded ...string) {
	t.Helper()
	var ranges []netipx.IPRange
	for _, e := range excluded {
		r, err := netipx.ParseIPRange(e)
		if a, aerr := netip.ParseAddr(e); aerr == nil {
			r, err = netipx.IPRangeFrom(a, a), nil
		}
		if err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, r)
	}
	if err := b.Define("n", []netip.Prefix{netip.MustParsePrefix(prefix)}, ranges); err != nil {
		t.Fatal(err)
	}
}

func next(t testingT, b *Allocator, owner string) string {
	t.Helper()
	got, err := b.Next("n", owner)
	if err != nil {
		t.Fatal(err)
	}
	return got[0].String()
}

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, x := range s {
		out = append(out, netip.MustParseAddr(x))
	}
	return out
}
