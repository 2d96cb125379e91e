package neutron

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// background marks the contexts of calls that nobody waits for.
type background struct{}

// Background is ctx for calls that no unit waits for: they count as such.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, background{}, true)
}

// counted tells of each call that passes.
type counted struct {
	next  http.RoundTripper
	count func(kind, verb string, background bool)
}

// Counted passes calls to OpenStack on to next, and tells count of them, which
// may be nil. It is told as Options.Count is.
func Counted(next http.RoundTripper, count func(kind, verb string, background bool)) http.RoundTripper {
	if count == nil {
		return next
	}
	return counted{next, count}
}

// RoundTrip is that of http.RoundTripper.
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	kind, verb := callName(r.Method, r.URL.Path)
	behind, _ := r.Context().Value(background{}).(bool)
	c.count(kind, verb, behind)
	return c.next.RoundTrip(r)
}

// CloseIdleConnections is what an http.Client asks its transport for.
func (c counted) CloseIdleConnections() {
	if t, can := c.next.(interface{ CloseIdleConnections() }); can {
		t.CloseIdleConnections()
	}
}

var apiVersion = regexp.MustCompile(`^v[0-9.]+$`)

// callName says what a call is about and what it does.
func callName(method, path string) (kind, verb string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	at := slices.IndexFunc(parts, apiVersion.MatchString)
	parts = parts[at+1:]
	if len(parts) > 1 && (parts[0] == "lbaas" || parts[0] == "auth") {
		parts = parts[1:]
	}
	verb = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodDelete: "delete"}[method]
	if verb == "" {
		verb = "list"
	}
	if at < 0 || len(parts) == 0 {
		return "version", verb
	}
	if len(parts) > 2 {
		return inside(parts, verb)
	}
	return singular(parts[0]), verb
}

// inside names a call on what belongs to an object.
func inside(parts []string, verb string) (string, string) {
	switch parts[2] {
	case "tags":
		return singular(parts[0]), "tag"
	case "add_router_interface":
		return "router_interface", "create"
	case "remove_router_interface":
		return "router_interface", "delete"
	case "add_subports":
		return "subport", "create"
	case "remove_subports":
		return "subport", "delete"
	case "members":
		return "member", verb
	}
	return singular(parts[0]), verb
}

func singular(collection string) string {
	return strings.TrimSuffix(strings.ReplaceAll(collection, "-", "_"), "s")
}
