package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
)

func parse(args []string, env map[string]string) (Options, error) {
	o := DefaultOptions(":1")
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.AddFlags(f)
	return o, ParseFlags(f, args, func(name string) string { return env[name] })
}

// Arguments override the environment, which overrides the defaults.
func TestOptions(t *testing.T) {
	env := map[string]string{"ISTHMUS_LOG_LEVEL": "debug", "ISTHMUS_LISTEN": ":2", "ISTHMUS_KUBECONFIG": "k"}
	o, err := parse([]string{"--listen=:3"}, env)
	want := Options{Settings: "/etc/isthmus/isthmus.yaml", Kubeconfig: "k", Listen: ":3", LogLevel: slog.LevelDebug}
	if err != nil || o != want {
		t.Errorf("%+v %v", o, err)
	}
	for _, bad := range [][]string{{"extra"}, {"--log-level=loud"}, {"--nonsense"}} {
		if _, err := parse(bad, nil); err == nil || UsageError("test", err) != 2 {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := parse(nil, map[string]string{"ISTHMUS_LOG_LEVEL": "loud"}); err == nil {
		t.Error("the environment's log level was taken")
	}
	if _, err := parse([]string{"--help"}, nil); UsageError("test", err) != 0 {
		t.Errorf("help: %v", err)
	}
}

// A daemon without settings fails before its work begins.
func TestRunWithoutSettings(t *testing.T) {
	code := Run("test", Options{Settings: t.TempDir() + "/none"}, func(context.Context, Process) error {
		t.Error("the work began")
		return nil
	})
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestEndpoints(t *testing.T) {
	r := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "things_total"})
	r.MustRegister(c)
	var notReady error
	h := Endpoints{Metrics: r, Ready: func() error { return notReady }}.Handler()
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	for path, want := range map[string]string{"/metrics": "things_total 0", "/healthz": "ok", "/readyz": "ok"} {
		if code, text := get(path); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	notReady = errors.New("no database")
	if code, text := get("/readyz"); code != http.StatusServiceUnavailable || text != "no database\n" {
		t.Errorf("not ready: %d %q", code, text)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("health of a daemon that is not ready: %d", code)
	}
}

// Serve returns no error when its context ends, and frees the address.
func TestServeEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, serve := range []func(context.Context) error{
		func(ctx context.Context) error { return Endpoints{}.Serve(ctx, l) },
		func(ctx context.Context) error { return Endpoints{}.ListenAndServe(ctx, l.Addr().String()) },
		func(ctx context.Context) error { return Endpoints{}.ListenAndServe(ctx, NoListen) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := serve(ctx); err != nil {
			t.Error(err)
		}
	}
}

// The dialer finds the server that answers, whichever address it has.
func TestDialAny(t *testing.T) {
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	down, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down.Close()
	conn, err := dialAny([]string{down.Addr().String(), up.Addr().String()})(t.Context(), "tcp", "ignored:1")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := dialAny([]string{down.Addr().String()})(t.Context(), "tcp", "ignored:1"); err == nil {
		t.Error("nobody answers, but there is no error")
	}
}

// At Info, libraries log warnings only; at Debug, everything.
func TestForLibraries(t *testing.T) {
	for level, want := range map[slog.Level]string{slog.LevelInfo: "", slog.LevelDebug: "starting"} {
		var out bytes.Buffer
		log := ForLibraries(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})))
		log.WithName("x").WithValues("a", 1).Info("starting")
		if got := out.String(); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("at %s: %q", level, got)
		}
		log.Error(nil, "broken")
		if !strings.Contains(out.String(), "broken") {
			t.Errorf("at %s an error is not logged", level)
		}
	}
}
