package openstack

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Count is called before each call to OpenStack, with the kind of resource ("port"), the
// verb (list, create, update, tag, delete), and whether the call is made in the
// background, so that no unit waits for it.
type Count func(kind, verb string, background bool)

type backgroundKey struct{}

// Background returns a context for calls that no unit waits for. Count gets them as
// background calls.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// countingTransport calls count for each call that it passes on.
type countingTransport struct {
	next  http.RoundTripper
	count Count
}

// counted returns a transport that counts its calls and passes them to next, or next
// itself if count is nil.
func counted(next http.RoundTripper, count Count) http.RoundTripper {
	if count == nil {
		return next
	}
	return countingTransport{next, count}
}

// RoundTrip implements http.RoundTripper.
func (c countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	kind, verb := callName(r.Method, r.URL.Path)
	background, _ := r.Context().Value(backgroundKey{}).(bool)
	c.count(kind, verb, background)
	return c.next.RoundTrip(r)
}

// CloseIdleConnections closes idle connections. http.Client calls it.
func (c countingTransport) CloseIdleConnections() {
	if t, can := c.next.(interface{ CloseIdleConnections() }); can {
		t.CloseIdleConnections()
	}
}

var apiVersion = regexp.MustCompile(`^v[0-9.]+$`)

// callName returns the kind and the verb of a call for Count.
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
		return nestedCall(parts, verb)
	}
	return singular(parts[0]), verb
}

// nestedCall returns the kind and the verb of a call on a part of an object,
// for example pools/ID/members.
func nestedCall(parts []string, verb string) (string, string) {
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
