package cniwire

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers one request with answer. got receives the request, and file the content
// of the file that came with it.
func serve(t *testing.T, answer Response) (socket string, got chan Request, file chan string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	got, file = make(chan Request, 1), make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer conn.Close()
		r, f, err := Receive(conn)
		if err != nil {
			t.Error(err)
		}
		got <- r
		file <- content(f)
		if err := Reply(conn, answer); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return socket, got, file
}

func content(f *os.File) string {
	if f == nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 100)
	n, _ := f.ReadAt(b, 0)
	return string(b[:n])
}

func TestRoundTrip(t *testing.T) {
	want := Response{Result: &Result{
		Interfaces: []Interface{{Name: "eth0", MAC: "00:00:00:00:00:01", MTU: 1400, NetNS: "/run/netns/a"}},
		Addresses:  []Address{{Prefix: "10.16.0.5/16", Gateway: "10.16.0.1"}},
		Routes:     []Route{{To: "0.0.0.0/0", Via: "10.16.0.1"}},
	}}
	socket, got, file := serve(t, want)
	f, err := os.Create(filepath.Join(t.TempDir(), "ns"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("the namespace"); err != nil {
		t.Fatal(err)
	}
	request := Request{Verb: Add, Attachment: Attachment{"c1", "eth0"}, Namespace: "net2", Pod: "ubuntu", UID: "u"}
	answer, err := Call(t.Context(), socket, request, f)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, answer); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(request, <-got); d != "" {
		t.Error(d)
	}
	if c := <-file; c != "the namespace" {
		t.Errorf("the file says %q", c)
	}
}

func TestCallWithoutAgent(t *testing.T) {
	_, err := Call(t.Context(), filepath.Join(t.TempDir(), "none"), Request{Verb: Status}, nil)
	if !errors.Is(err, ErrNoAgent) {
		t.Errorf("got %v", err)
	}
}

func TestCallEndsWithContext(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Call(ctx, socket, Request{Verb: Status}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, says := range map[string]string{
		`{`:              "decode request",
		`{"verb":"FLY"}`: `verb "FLY"`,
		`{"verb":"DEL"}`: "container id",
		`{"verb":"ADD"}`: "names no pod",
		`{"verb":"DEL","container":"../x","link":"eth0"}`:                         "container id",
		`{"verb":"DEL","container":"x","link":"eth/0"}`:                           "interface name",
		`{"verb":"DEL","container":"x","link":"` + strings.Repeat("e", 16) + `"}`: "interface name",
	} {
		if _, err := decode([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", text, err, says)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"verb":"ADD","container":"c","link":"eth0","pod":"a","namespace":"b"}`))
	f.Add([]byte(`{"verb":"GC","keep":[{"container":"c","link":"eth0"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decode(text)
		if err == nil && r.Verb == Add && (r.Container == "" || len(r.Link) > 15) {
			t.Errorf("took %s", text)
		}
	})
}
