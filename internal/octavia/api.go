package octavia

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/apiversions"

	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/neutron/keystone"
)

// callTimeout is how long one call may take. Provider ovn works on the members
// of a pool while the call waits, half a second for each.
const callTimeout = 90 * time.Second

// api is Octavia, and of Neutron what concerns addresses, as one user sees
// them. It sends what it is told.
type api struct {
	balancers, network *gophercloud.ServiceClient
	project            string
	version            Version
	removed            func(what string)
}

// connect signs in and asks what this Octavia can do.
func connect(ctx context.Context, o Options) (*api, error) {
	provider, endpoint, err := keystone.SignIn(ctx, keystone.Login{
		Cloud: o.Cloud, File: o.CloudsFile, Timeout: callTimeout,
		Through: func(next http.RoundTripper) http.RoundTripper { return neutron.Counted(next, o.Count) },
	})
	if err != nil {
		return nil, class("sign in to cloud "+o.Cloud, err)
	}
	a := &api{removed: o.Removed}
	if a.project, err = projectOf(provider); err != nil {
		return nil, fmt.Errorf("cloud %s: %w", o.Cloud, err)
	}
	if a.network, err = openstack.NewNetworkV2(provider, endpoint); err != nil {
		return nil, class("find Neutron of cloud "+o.Cloud, err)
	}
	if a.balancers, err = openstack.NewLoadBalancerV2(provider, endpoint); err != nil {
		return nil, class("find Octavia of cloud "+o.Cloud, err)
	}
	return a, a.ask(ctx)
}

func projectOf(p *gophercloud.ProviderClient) (string, error) {
	token, is := p.GetAuthResult().(tokens.CreateResult)
	if !is {
		return "", errors.New("the token is not of Keystone's version 3")
	}
	project, err := token.ExtractProject()
	if err != nil || project == nil {
		return "", fmt.Errorf("the token has no project, name one in clouds.yaml: %w", err)
	}
	return project.ID, nil
}

// ask finds the newest version of Octavia's API.
func (a *api) ask(ctx context.Context) error {
	pages, err := apiversions.List(a.balancers).AllPages(ctx)
	if err != nil {
		return class("ask for the versions of Octavia's API", err)
	}
	all, err := apiversions.ExtractAPIVersions(pages)
	if err != nil {
		return fmt.Errorf("versions of Octavia's API: %w", err)
	}
	for _, v := range all {
		if known, is := parseVersion(v.ID); is && known.atLeast(a.version) {
			a.version = known
		}
	}
	return nil
}
