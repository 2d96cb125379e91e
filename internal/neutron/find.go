package neutron

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

// Kinds of things that are found by name.
const (
	Router        = "router"
	Network       = "network"
	SecurityGroup = "security_group"
	SubnetPool    = "subnetpool"
)

// NotFound is the reason of Find's Wait for what is not there.
const NotFound = "NotFound"

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Find is the id of what somebody else made, by its name: in our own project,
// or in any that we see if ours has none of that name. What looks like an id
// is one, and nobody is asked. Its errors are as those of Apply.
func (f *Fabric) Find(ctx context.Context, what, name string) (string, error) {
	if uuid.MatchString(name) {
		return name, nil
	}
	a, err := f.api(ctx)
	if err != nil {
		return "", err
	}
	found, err := a.find(ctx, what, url.Values{"name": {name}}, name)
	return found.ID, err
}

// find is the one thing that a query finds, ours before others'.
func (a *api) find(ctx context.Context, what string, query url.Values, name string) (wire, error) {
	found, err := a.list(ctx, plan.Kind(what), query)
	if own := slices.DeleteFunc(slices.Clone(found), func(w wire) bool { return w.Project != a.project }); len(own) > 0 {
		found = own
	}
	switch {
	case err != nil:
		return wire{}, fmt.Errorf("find %s %s: %w", what, name, err)
	case len(found) == 0:
		return wire{}, intent.Wait{Reason: NotFound, For: fmt.Sprintf("%s %s in Neutron", what, name), After: later}
	case len(found) > 1:
		return wire{}, intent.Stop{Reason: "Ambiguous", Why: fmt.Sprintf("%d of Neutron's %ss are named %s: give the id", len(found), what, name)}
	}
	return found[0], nil
}
