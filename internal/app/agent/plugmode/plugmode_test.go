package plugmode

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// nodeReader has one Node, or none.
type nodeReader struct {
	client.Reader
	node   *corev1.Node
	failed int // how many calls fail at first
}

func (r *nodeReader) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if r.failed > 0 {
		r.failed--
		return errors.New("the API server is away")
	}
	if r.node == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, key.Name)
	}
	r.node.DeepCopyInto(o.(*corev1.Node))
	return nil
}

func TestChoose(t *testing.T) {
	dir := t.TempDir()
	there, gone := filepath.Join(dir, "db.sock"), filepath.Join(dir, "none")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, option, file, label, annotation, mtu string
		want                                       Choice
	}{
		{"no switch", "auto", "unix:" + gone, "", "", "", Choice{plug.VLAN, true}},
		{"a switch", "auto", "unix:" + there, "", "", "", Choice{plug.OVS, true}},
		{"a switch elsewhere", "auto", "tcp:127.0.0.1:6640", "", "", "", Choice{plug.OVS, true}},
		{"a switch that came later", "auto", "unix:" + there, "", "vlan", "", Choice{plug.OVS, true}},
		{"a switch that is stopped", "auto", "unix:" + gone, "", "ovs", "", Choice{plug.OVS, true}},
		{"a switch of an earlier version's that is stopped", "auto", "unix:" + gone, "", "", "1450", Choice{plug.OVS, true}},
		{"one that was taken for a virtual machine", "auto", "unix:" + gone, "", "vlan", "1450", Choice{plug.OVS, true}},
		{"a file that cannot be looked at", "auto", "unix:" + there + "/db.sock", "", "", "", Choice{plug.OVS, true}},
		{"the label", "auto", "unix:" + there, "vlan", "ovs", "", Choice{plug.VLAN, false}},
		{"the option", "ovs", "unix:" + gone, "vlan", "vlan", "", Choice{plug.OVS, false}},
	} {
		o := Options{Plug: row.option, Node: "node1", OVS: row.file, Listen: "127.0.0.1:0"}
		n := &corev1.Node{}
		n.Labels, n.Annotations = map[string]string{v1.Plug: row.label}, map[string]string{v1.Plug: row.annotation, v1.AnnotationUnderlayMTU: row.mtu}
		r := &nodeReader{node: n}
		if !HasSwitch(row.file) {
			r.failed = 2 // Choose asks until it answers
		}
		got, err := Choose(t.Context(), o, r, slog.New(slog.DiscardHandler))
		if err != nil || got != row.want {
			t.Errorf("%s: %+v, %v", row.name, got, err)
		}
	}
	o := Options{Plug: Auto, Node: "node1", OVS: "unix:" + gone}
	if got, err := Choose(t.Context(), o, &nodeReader{}, slog.New(slog.DiscardHandler)); err != nil || got.Mode != plug.VLAN {
		t.Errorf("without a Node: %+v, %v", got, err)
	}
}

// A node with a switch serves its pods while the API server does not answer.
func TestChooseWithoutTheAPIServer(t *testing.T) {
	o := Options{Plug: Auto, Node: "node1", OVS: "unix:" + t.TempDir()}
	got, err := Choose(t.Context(), o, &nodeReader{failed: math.MaxInt}, slog.New(slog.DiscardHandler))
	if want := (Choice{plug.OVS, true}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

// An agent that waits for the API server is healthy, but not ready.
func TestAliveWhileItWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := errors.New("asked")
	err = healthyWhile(t.Context(), l, func() error {
		for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
			r, err := http.Get("http://" + l.Addr().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode != want {
				t.Errorf("%s: %s", path, r.Status)
			}
		}
		return asked
	})
	if !errors.Is(err, asked) {
		t.Errorf("got %v", err)
	}
	again, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("the address is not free afterwards: %v", err)
	}
	again.Close()
}

// Open vSwitch may start after the agent.
func TestSwitchComes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db.sock")
	done := make(chan error, 1)
	go func() { done <- WatchForSwitch(t.Context(), "unix:"+file, time.Hour, slog.New(slog.DiscardHandler)) }()
	for _, name := range []string{file + ".pid", file} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- WatchForSwitch(ctx, "unix:"+file+".later", time.Hour, slog.New(slog.DiscardHandler)) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("when it is told to stop: %v", err)
	}
}

// started makes a switch's socket at the first log message.
type started string

func (s started) Write(line []byte) (int, error) {
	return len(line), errors.Join(os.MkdirAll(filepath.Dir(string(s)), 0o700), os.WriteFile(string(s), nil, 0o600))
}

// WatchForSwitch polls if it cannot watch, as for a directory that does not exist.
func TestSwitchComesWithoutAWatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "openvswitch", "db.sock")
	log := slog.New(slog.NewTextHandler(started(file), nil))
	if err := WatchForSwitch(t.Context(), "unix:"+file, time.Nanosecond, log); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WatchForSwitch(ctx, "unix:/nowhere/db.sock", time.Hour, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("when it is told to stop: %v", err)
	}
}

// The log says why the Node cannot be read.
func TestWaitLogsWhy(t *testing.T) {
	var log bytes.Buffer
	if _, err := retryGetNode(t.Context(), "node1", &nodeReader{failed: 2}, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "the API server is away") {
		t.Errorf("the log is %q", text)
	}
}

func TestNeedsSwitch(t *testing.T) {
	const gone = "unix:/nowhere/db.sock"
	for _, row := range []struct {
		name, annotation, value string
		want                    bool
	}{
		{"an agent used the switch", v1.Plug, v1.PlugOVS, true},
		{"an agent reported the underlay", v1.AnnotationUnderlayMTU, "1450", true},
		{"a virtual machine", v1.Plug, v1.PlugVLAN, false},
		{"no agent ran", "example.com/a", "b", false},
	} {
		n := &corev1.Node{}
		n.Annotations = map[string]string{row.annotation: row.value}
		if got, err := NeedsSwitch(t.Context(), "node1", gone, &nodeReader{node: n}); got != row.want || err != nil {
			t.Errorf("%s: %v, %v", row.name, got, err)
		}
	}
	if _, err := NeedsSwitch(t.Context(), "node1", gone, &nodeReader{failed: 1}); err == nil {
		t.Error("a Node that cannot be read is no error")
	}
}
