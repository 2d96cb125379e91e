package policy

import (
	"errors"
	"net/netip"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

var comparePrefixes = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// parts are a decision's want and its problem.
func parts(d intent.Decision[struct{}]) (intent.Want, error) {
	want, _ := d.Want()
	return want, d.Problem()
}

// reason is what an error says in a word.
func reason(err error) string {
	var w intent.Wait
	var s intent.Stop
	switch {
	case errors.As(err, &w):
		return w.Reason
	case errors.As(err, &s):
		return s.Reason
	case err != nil:
		return err.Error()
	}
	return ""
}
