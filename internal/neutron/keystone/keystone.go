// Package keystone signs in to OpenStack as a clouds.yaml says, and again as it
// says then. It knows nothing of what the caller is after.
package keystone

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
)

// Login is who to be, and how to get there.
type Login struct {
	// Cloud is the name in File, a clouds.yaml.
	Cloud, File string
	// Timeout is how long one call may take.
	Timeout time.Duration
	// Through, if set, is put around the way to all of OpenStack.
	Through func(http.RoundTripper) http.RoundTripper
}

// SignIn returns a client of all of OpenStack. When its token is refused it
// signs in again with what File says then: a password may have been changed.
func SignIn(ctx context.Context, l Login) (*gophercloud.ProviderClient, gophercloud.EndpointOpts, error) {
	auth, endpoint, tls, err := clouds.Parse(clouds.WithCloudName(l.Cloud), clouds.WithLocations(l.File))
	if err != nil {
		return nil, endpoint, fmt.Errorf("cloud %s of %s: %w", l.Cloud, l.File, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tls
	way := http.Client{Transport: transport, Timeout: l.Timeout}
	if l.Through != nil {
		way.Transport = l.Through(transport)
	}
	provider, err := config.NewProviderClient(ctx, auth, config.WithHTTPClient(way))
	if err != nil {
		return nil, endpoint, err
	}
	provider.ReauthFunc = func(ctx context.Context) error { return l.again(ctx, provider, way) }
	return provider, endpoint, nil
}

// again gives p a new token.
func (l Login) again(ctx context.Context, p *gophercloud.ProviderClient, way http.Client) error {
	auth, _, _, err := clouds.Parse(clouds.WithCloudName(l.Cloud), clouds.WithLocations(l.File))
	if err != nil {
		return fmt.Errorf("cloud %s of %s: %w", l.Cloud, l.File, err)
	}
	fresh, err := config.NewProviderClient(ctx, auth, config.WithHTTPClient(way))
	if err != nil {
		return err
	}
	p.CopyTokenFrom(fresh)
	return nil
}
