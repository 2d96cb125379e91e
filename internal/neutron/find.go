package neutron

import (
	"context"
	"net/url"

	"github.com/isthmus-cni/isthmus/internal/neutron/client"
)

// Kinds of things that are found by name.
const (
	Router        = "router"
	Network       = "network"
	SecurityGroup = "security_group"
	SubnetPool    = "subnetpool"
)

// NotFound is the reason of Find's Wait for what is not there.
const NotFound = client.ReasonNotFound

// Find is the id of what somebody else made, by its name: in our own project,
// or in any that we see if ours has none of that name. What looks like an id
// is one, and nobody is asked. Its errors are as those of Apply.
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
