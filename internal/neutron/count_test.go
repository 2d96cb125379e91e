package neutron

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// tally records the calls of Options.Count.
type tally struct {
	mu    sync.Mutex
	calls []string
}

func (y *tally) count(kind, verb string, background bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.calls = append(y.calls, verb+" "+kind+map[bool]string{true: " behind"}[background])
}

// since returns the calls since the last call of since.
func (y *tally) since() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	calls := y.calls
	y.calls = nil
	return calls
}

// Calls are counted with the unit's own and the background calls apart.
func TestCalls(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	var y tally
	f := startAs(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Count: y.count})
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if signing := y.since(); !slices.Contains(signing, "create token behind") || !slices.Contains(signing, "list network behind") {
		t.Errorf("the look: %v", signing)
	}
	apply(t, f, "subnet/net2", subnetWant(""))
	want := []string{"create network", "tag network", "create subnet", "tag subnet", "create subnet", "tag subnet"}
	if diff := cmp.Diff(want, y.since()); diff != "" {
		t.Error(diff)
	}
}

// All calls of the pool are background calls.
func TestPoolCallsAreBackground(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	var y tally
	f := startPoolAs(t, Options{
		Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Count: y.count, Pool: &portpool.Limits{Min: 2, Batch: 2},
	})
	y.since()
	apply(t, f, "pod/ns/a", podWant("ns/a", "node1"))
	awaitFull(t, f, 2)
	eventually(t, time.Minute, "it has its name", func() bool { return slices.Contains(pods(c), "ns/a") })
	f.Close()
	calls := y.since()
	if slices.ContainsFunc(calls, func(s string) bool { return !strings.HasSuffix(s, " behind") }) || len(calls) < 2 {
		t.Errorf("a pod from the pool cost %v", calls)
	}
}
