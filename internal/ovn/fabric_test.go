package ovn

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial connects to a server until the test ends.
func dial(t testing.TB, s *ovntest.Server) *Fabric {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	f, err := Dial(t.Context(), Options{Owner: "kubernetes", Addresses: []string{s.Address}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func apply(t testing.TB, f *Fabric, u intent.Unit, w intent.Want) intent.Observed {
	t.Helper()
	seen, err := f.Apply(withTimeout(t), u, w)
	if err != nil {
		t.Fatalf("apply %s: %v", u, err)
	}
	return seen
}

// withTimeout returns a context with a timeout that is long enough on a slow machine.
func withTimeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func vpc(name string) intent.Want { return intent.Want{Routers: []intent.Router{{Name: name}}} }

// subnet is a network and its router interface.
func subnet(name, router string, foreign bool) intent.Want {
	return intent.Want{
		Networks: []intent.Network{{Name: name, LoadBalancersOf: router}},
		RouterInterfaces: []intent.RouterInterface{{
			Network: name, Router: router, Foreign: foreign,
			NetworkPort: name + "-" + router, RouterPort: router + "-" + name,
			MAC: "00:00:00:91:4d:df", Addresses: []netip.Prefix{netip.MustParsePrefix("12.0.1.1/24")},
		}},
	}
}

func pod(name, network string, groups ...string) intent.Want {
	return intent.Want{Ports: []intent.Port{{
		Name: name, Network: network, MAC: "00:00:00:aa:00:02", Version: "uid-" + name, Groups: groups,
		Addrs: []netip.Addr{netip.MustParseAddr("12.0.1.2")},
	}}}
}

func group(name string) intent.Want { return intent.Want{Groups: []intent.Group{{Name: name}}} }

func TestApply(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	f := dial(t, s)
	units := []struct {
		unit    intent.Unit
		want    intent.Want
		changes int
	}{
		{"vpc/r", vpc("r"), 1},
		{"subnet/net2", subnet("net2", "r", false), 3},
		{"node/a", group("node.a"), 1},
		{"pod/ns/p", pod("p.ns", "net2", "node.a"), 2},
	}
	for _, u := range units {
		if seen := apply(t, f, u.unit, u.want); seen.Changed != u.changes {
			t.Errorf("%s: %d changes, want %d", u.unit, seen.Changed, u.changes)
		}
	}
	before := s.DumpExact()
	for _, u := range units {
		if seen := apply(t, f, u.unit, u.want); seen.Changed != 0 {
			t.Errorf("%s again: %d changes", u.unit, seen.Changed)
		}
	}
	if after := s.DumpExact(); after != before {
		t.Errorf("applied again, the database changed:\n%s\n%s", before, after)
	}
	t.Log("\n" + s.Dump())
	n, err := f.Clear(withTimeout(t))
	if err != nil || n != len(units) {
		t.Errorf("cleared %d units: %v", n, err)
	}
	if left := s.Dump(); left != "" {
		t.Errorf("left over:\n%s", left)
	}
}

// Dial waits for a database until its context ends.
func TestDialWithoutServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, Options{Owner: "kubernetes", Addresses: []string{"unix:/nonexistent/db.sock"}})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
