package neutron

import (
	"context"
	"net/url"

	"github.com/isthmus-cni/isthmus/internal/neutron/client"
)

// Kinds of objects that Find finds by name.
const (
	Router        = "router"
	Network       = "network"
	SecurityGroup = "security_group"
	SubnetPool    = "subnetpool"
)

// NotFound is the reason of the intent.Wait that Find returns if no object has the name.
const NotFound = client.ReasonNotFound

// Find returns the id of a foreign object, by its name: one in our own project, or one in
// any project that we see if ours has none of that name. A name in the form of an id is
// returned without a call. Find returns the same errors as Apply.
func (f *Fabric) Find(ctx context.Context, what, name string) (string, error) {
	if client.UUID.MatchString(name) {
		return name, nil
	}
	a, err := f.api(ctx)
	if err != nil {
		return "", err
	}
	found, err := a.Find(ctx, what, url.Values{"name": {name}}, name)
	return found.ID, err
}
