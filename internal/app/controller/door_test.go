package controller

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
)

// newSecret is the password after "login changed"; tokenName begins each token.
// No log and no event may have them, nor the old one.
const (
	newSecret = "another-very-secret"
	tokenName = "very-secret-token"
)

// door is what calls pass on their way to the cloud: it lets in whom Keystone
// knows, and things happen to calls there.
type door struct {
	inside http.Handler
	behind string // where that is

	mu       sync.Mutex
	password string
	tokens   int // how often all were taken back
	refusals int // since the last of that
	faults   []*fault
}

// fault is what happens to calls that match.
type fault struct {
	method string
	path   *regexp.Regexp
	// nth is which of them, 0 for all; met counts them.
	nth, met int
	// code and word are what is answered; code 0 breaks the connection.
	code int
	word string
	// late is true if the call is done all the same.
	late bool
	// gate, if set, holds calls until it is closed: then they are done.
	gate chan struct{}
}

// newFront makes one cloud of two fakes, with a door, and returns its clouds.yaml.
func newFront(t testing.TB, n *neutrontest.Cloud, o *octaviatest.Cloud) (string, *door, error) {
	file, err := octaviatest.Front(t, n, o)
	if err != nil {
		return "", nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	old := string(authURL.FindSubmatch(text)[1])
	to, err := url.Parse(old)
	if err != nil {
		return "", nil, err
	}
	d := &door{inside: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}, behind: old, password: neutrontest.Secret}
	front := httptest.NewUnstartedServer(d)
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // a caller that is killed is none
	front.Start()
	t.Cleanup(func() { d.heal(); front.Close() })
	return file, d, os.WriteFile(file, bytes.ReplaceAll(text, []byte(old), []byte(front.URL)), 0o600)
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // only then does the server see that the caller went
	r.Body = io.NopCloser(bytes.NewReader(body))
	f := d.of(r)
	switch {
	case f == nil:
		d.enter(w, r, body)
	case f.gate != nil:
		select {
		case <-f.gate:
			d.enter(w, r, body)
		case <-r.Context().Done():
		}
	default:
		if f.late {
			d.enter(&blind{http.Header{}}, r, body)
		}
		f.answer(w)
	}
}

// blind is an answer that nobody gets.
type blind struct{ header http.Header }

func (b *blind) Header() http.Header         { return b.header }
func (b *blind) Write(p []byte) (int, error) { return len(p), nil }
func (b *blind) WriteHeader(int)             {}

func (f *fault) answer(w http.ResponseWriter) {
	if f.code == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.code)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"NeutronError": map[string]any{"type": f.word, "message": "it happens", "detail": ""}, "faultstring": "it happens",
	})
}

// of is what happens to a call, nil for nothing.
func (d *door) of(r *http.Request) *fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		if f.method != "ANY" && f.method != r.Method || !f.path.MatchString(r.URL.Path) {
			continue
		}
		if f.met++; f.nth == 0 || f.nth == f.met {
			return f
		}
	}
	return nil
}

func (d *door) add(f *fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, f)
}

// heal ends all faults; what is held goes on.
func (d *door) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		if f.gate != nil {
			close(f.gate)
		}
	}
	d.faults = nil
}

// met is how many calls any fault has met, or have been refused.
func (d *door) met() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.refusals
	for _, f := range d.faults {
		n += f.met
	}
	return n
}

// lock takes all tokens back, and lets in who has this password.
func (d *door) lock(password string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.password, d.refusals = password, 0
	d.tokens++
}

func (d *door) secret() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.password
}

func (d *door) token() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return tokenName + strings.Repeat("-", d.tokens)
}

// enter does a call, if the caller may.
func (d *door) enter(w http.ResponseWriter, r *http.Request, body []byte) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v3") && r.Method == http.MethodPost:
		if !bytes.Contains(body, []byte(`"`+d.secret()+`"`)) {
			d.refuse(w)
			return
		}
		d.admit(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2.0") && r.Header.Get("X-Auth-Token") != d.token(),
		strings.HasPrefix(r.URL.Path, "/lb") && r.Header.Get("X-Auth-Token") != d.token():
		d.refuse(w)
	default:
		r.Header.Set("X-Auth-Token", "token-0") // the fake's first and only one
		d.inside.ServeHTTP(w, r)
	}
}

// admit gives out a token, and shows no way past the door.
func (d *door) admit(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	d.inside.ServeHTTP(answer, r)
	w.Header().Set("X-Subject-Token", d.token())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte(d.behind), []byte("http://"+r.Host)))
}

func (d *door) refuse(w http.ResponseWriter) {
	d.mu.Lock()
	d.refusals++
	d.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": 401, "message": "The request you have made requires authentication."}})
}

// secrets are what must not be said.
func secrets() []string { return []string{neutrontest.Secret, newSecret, tokenName} }
