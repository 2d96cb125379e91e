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

// newSecret is the password after "login changed". tokenName is the prefix of
// each token. No log and no event may contain them or the old password.
const (
	newSecret = "another-very-secret"
	tokenName = "very-secret-token"
)

// proxy is in front of the fake cloud: it checks passwords and tokens as Keystone
// does, and injects faults.
type proxy struct {
	backend    http.Handler
	backendURL string // backend's URL

	mu       sync.Mutex
	password string
	tokens   int // how often all tokens were revoked
	refusals int // since the last revocation
	faults   []*fault
}

// fault is injected into calls that match.
type fault struct {
	method string
	path   *regexp.Regexp
	// nth is which of the matching calls gets the fault; 0 for all. hits counts
	// the matching calls.
	nth, hits int
	// code and word are the answer. Code 0 breaks the connection.
	code int
	word string
	// loseAnswer is true if the call is executed although its answer is the fault.
	loseAnswer bool
	// hold, if not nil, blocks calls until it is closed. Then they are executed.
	hold chan struct{}
}

// newProxy makes one cloud of two fakes behind a proxy. It returns the path of
// its clouds.yaml.
func newProxy(t testing.TB, n *neutrontest.Cloud, o *octaviatest.Cloud) (string, *proxy, error) {
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
	d := &proxy{backend: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}, backendURL: old, password: neutrontest.Secret}
	front := httptest.NewUnstartedServer(d)
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // a killed caller is no error
	front.Start()
	t.Cleanup(func() { d.heal(); front.Close() })
	return file, d, os.WriteFile(file, bytes.ReplaceAll(text, []byte(old), []byte(front.URL)), 0o600)
}

func (d *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // the server notices a closed connection only after it has read the body
	r.Body = io.NopCloser(bytes.NewReader(body))
	f := d.match(r)
	switch {
	case f == nil:
		d.handle(w, r, body)
	case f.hold != nil:
		select {
		case <-f.hold:
			d.handle(w, r, body)
		case <-r.Context().Done():
		}
	default:
		if f.loseAnswer {
			d.handle(&discardedResponse{http.Header{}}, r, body)
		}
		f.answer(w)
	}
}

// discardedResponse is a ResponseWriter whose content is discarded.
type discardedResponse struct{ header http.Header }

func (b *discardedResponse) Header() http.Header         { return b.header }
func (b *discardedResponse) Write(p []byte) (int, error) { return len(p), nil }
func (b *discardedResponse) WriteHeader(int)             {}

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

// match returns the fault of a call; nil if it has none.
func (d *proxy) match(r *http.Request) *fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		if f.method != "ANY" && f.method != r.Method || !f.path.MatchString(r.URL.Path) {
			continue
		}
		if f.hits++; f.nth == 0 || f.nth == f.hits {
			return f
		}
	}
	return nil
}

func (d *proxy) add(f *fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, f)
}

// heal removes all faults. Blocked calls continue.
func (d *proxy) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		if f.hold != nil {
			close(f.hold)
		}
	}
	d.faults = nil
}

// hits returns how many calls have had a fault or have been refused.
func (d *proxy) hits() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.refusals
	for _, f := range d.faults {
		n += f.hits
	}
	return n
}

// revokeTokens revokes all tokens, and sets the password.
func (d *proxy) revokeTokens(password string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.password, d.refusals = password, 0
	d.tokens++
}

func (d *proxy) secret() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.password
}

func (d *proxy) token() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return tokenName + strings.Repeat("-", d.tokens)
}

// handle executes a call if its password or token is right.
func (d *proxy) handle(w http.ResponseWriter, r *http.Request, body []byte) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v3") && r.Method == http.MethodPost:
		if !bytes.Contains(body, []byte(`"`+d.secret()+`"`)) {
			d.refuse(w)
			return
		}
		d.issueToken(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2.0") && r.Header.Get("X-Auth-Token") != d.token(),
		strings.HasPrefix(r.URL.Path, "/lb") && r.Header.Get("X-Auth-Token") != d.token():
		d.refuse(w)
	default:
		r.Header.Set("X-Auth-Token", "token-0") // the fake's first and only one
		d.backend.ServeHTTP(w, r)
	}
}

// issueToken answers with a token. It replaces the backend's URL in the answer,
// so that no call bypasses the proxy.
func (d *proxy) issueToken(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	d.backend.ServeHTTP(answer, r)
	w.Header().Set("X-Subject-Token", d.token())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte(d.backendURL), []byte("http://"+r.Host)))
}

func (d *proxy) refuse(w http.ResponseWriter) {
	d.mu.Lock()
	d.refusals++
	d.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": 401, "message": "The request you have made requires authentication."}})
}

// secrets are texts that must not appear in logs and events.
func secrets() []string { return []string{neutrontest.Secret, newSecret, tokenName} }
