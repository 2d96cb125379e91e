package poolserver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/poolwire"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// fakePools is the number of ready ports of each pool. Node node9 has no free
// port.
type fakePools map[portpool.Key]int

func (f fakePools) Pools() []portpool.Status {
	var out []portpool.Status
	for _, k := range slices.SortedFunc(maps.Keys(f), func(a, b portpool.Key) int { return strings.Compare(a.Node+a.Network, b.Node+b.Network) }) {
		out = append(out, portpool.Status{Key: k, Ready: f[k]})
	}
	return out
}

func (f fakePools) PoolPorts(k portpool.Key) []portpool.PortStatus {
	return []portpool.PortStatus{{ID: "port-on-" + k.Node, Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.5")}, State: portpool.StateReady}}
}

func (f fakePools) Fill(_ context.Context, k portpool.Key, n int) (int, error) {
	if k.Node == "node9" {
		return 0, intent.Wait{For: "room"}
	}
	f[k] += n
	return n, nil
}

func (f fakePools) Free(_ context.Context, meant func(portpool.Key) bool) (int, error) {
	n := 0
	for k, had := range f {
		if meant(k) {
			n += had
			delete(f, k)
		}
	}
	return n, nil
}

func keyFor(node, network string) portpool.Key {
	return portpool.Key{Node: node, Network: network, Groups: "g2,g1"}
}

func newHandler(f fakePools) Handler {
	return Handler{
		Pools:        f,
		SubnetOf:     func(_ context.Context, k portpool.Key) (string, error) { return "subnet-" + k.Network, nil },
		GroupName:    func(id string) string { return "group-" + id },
		StandardPool: func(_ context.Context, node, _ string) (portpool.Key, error) { return keyFor(node, "a"), nil },
		Batch:        5,
	}
}

func found(h Handler) func() (Handler, error) { return func() (Handler, error) { return h, nil } }

// ask returns the answer to a request in short form.
func ask(t *testing.T, find func() (Handler, error), method, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	Mux(find).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	if w.Code != http.StatusOK {
		return http.StatusText(w.Code) + ": " + strings.TrimSpace(w.Body.String())
	}
	var made []poolwire.Made
	if json.Unmarshal(w.Body.Bytes(), &made) != nil {
		return strings.TrimSpace(w.Body.String())
	}
	lines := []string{}
	for _, m := range made {
		text, err := json.Marshal([]any{m.Node, m.Subnet, m.Groups, m.Ready, m.Ports, m.Made, m.Problem})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	return strings.Join(lines, "\n")
}

func TestHandler(t *testing.T) {
	t.Parallel()
	f := fakePools{keyFor("node1", "a"): 3, keyFor("node1", "b"): 1, keyFor("node9", "a"): 0}
	find := found(newHandler(f))
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/list", `["node1","subnet-a",["group-g1","group-g2"],3,null,0,""]
["node1","subnet-b",["group-g1","group-g2"],1,null,0,""]
["node9","subnet-a",["group-g1","group-g2"],0,null,0,""]`},
		{"GET", "/list?node=node1&subnet=subnet-b&ports=true", `["node1","subnet-b",["group-g1","group-g2"],1,[{"id":"port-on-node1","addresses":["10.1.0.5"],"state":"ready"}],0,""]`},
		{"GET", "/list?node=nosuch", ""},
		{"POST", "/fill?node=node1&subnet=b&n=7", `["node1","subnet-b",["group-g1","group-g2"],1,null,7,""]`}, // by the network's id
		{"POST", "/fill?node=node9", `["node9","subnet-a",["group-g1","group-g2"],0,null,0,"waiting for room"]`},
		{"POST", "/fill?node=node2", `["node2","subnet-a",["group-g1","group-g2"],0,null,5,""]`},
		{"POST", "/fill", "Bad Request: fill the pools of which node?"},
		{"POST", "/fill?node=node1&n=0", `Bad Request: the number of ports is "0": give one from 1 to 1000`},
		{"POST", "/fill?node=node1&n=many", `Bad Request: the number of ports is "many": give one from 1 to 1000`},
		{"POST", "/free", "Bad Request: free the ports of which node?"},
		{"POST", "/free?node=nosuch", `{"ports":0}`},
		{"POST", "/free?node=node1", `{"ports":11}`},
		{"POST", "/free?all=true", `{"ports":5}`},
		{"GET", "/list", ""},
		{"GET", "/fill?node=node1", "Method Not Allowed: Method Not Allowed"},
	} {
		if diff := cmp.Diff(c.want, ask(t, find, c.method, c.path)); diff != "" {
			t.Errorf("%s %s: %s", c.method, c.path, diff)
		}
	}
	none := func() (Handler, error) { return Handler{}, errors.New("no pools here") }
	if got := ask(t, none, "GET", "/list"); got != "Service Unavailable: no pools here" {
		t.Error(got)
	}
}

// The program in the controller's container connects to the socket. Only its user
// may use the socket, and a file of that name may exist already.
func TestServer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- Server{path, found(newHandler(fakePools{keyFor("node1", "a"): 3})), slog.New(slog.DiscardHandler)}.Start(ctx)
	}()
	var out strings.Builder
	deadline := time.Now().Add(time.Minute)
	for poolwire.Ask(ctx, path, []string{"list", "node=node1"}, &out) != nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // there is no event for it
	}
	if !strings.Contains(out.String(), `"subnet":"subnet-a"`) {
		t.Errorf("it says %q", out.String())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := poolwire.Ask(ctx, path, []string{"free"}, &out); err == nil || err.Error() != "free the ports of which node?" {
		t.Error(err)
	}
	if err := poolwire.Ask(ctx, path, []string{"../nonsense"}, &out); err == nil {
		t.Error("a verb that is none was taken")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := poolwire.Ask(t.Context(), path, []string{"list"}, &out); err == nil || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
