// Package openstack has the session with OpenStack that all fabrics share: sign-in, time
// limits, the count of calls, and the meaning of failed calls. Read session.go first,
// then errors.go. It knows no resource of Neutron or Octavia.
package openstack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	clients "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// Options name the user and the cloud.
type Options struct {
	// Cloud is the name of the cloud in CloudsFile, the path of a clouds.yaml.
	Cloud, CloudsFile string
	// Timeout is the time limit of one call; 0 means none.
	Timeout time.Duration
	// Count is called before each call. It may be nil.
	Count Count
}

// Session is a user who is signed in to OpenStack. It is safe for concurrent use.
type Session struct {
	// Cloud is the name of the cloud in clouds.yaml.
	Cloud string
	// Project is the id of the user's own project.
	Project string

	provider *gophercloud.ProviderClient
	endpoint gophercloud.EndpointOpts
}

// SignIn gets a token from Keystone. When the token expires, the session reads
// clouds.yaml and signs in again, because the password may have changed. SignIn returns
// the errors of ClassifyError, and an error if the token has no project.
func SignIn(ctx context.Context, o Options) (*Session, error) {
	s, err := o.signIn(ctx)
	if err != nil {
		return nil, ClassifyError("sign in to cloud "+o.Cloud, err)
	}
	if s.Project, err = projectOf(s.provider); err != nil {
		return nil, fmt.Errorf("cloud %s: %w", o.Cloud, err)
	}
	return s, nil
}

// read returns the current content of clouds.yaml.
func (o Options) read() (gophercloud.AuthOptions, gophercloud.EndpointOpts, *tls.Config, error) {
	auth, endpoint, config, err := clouds.Parse(clouds.WithCloudName(o.Cloud), clouds.WithLocations(o.CloudsFile))
	if err != nil {
		err = fmt.Errorf("cloud %s of %s: %w", o.Cloud, o.CloudsFile, err)
	}
	return auth, endpoint, config, err
}

func (o Options) signIn(ctx context.Context) (*Session, error) {
	auth, endpoint, tlsConfig, err := o.read()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlsConfig
	client := http.Client{Transport: counted(transport, o.Count), Timeout: o.Timeout}
	provider, err := config.NewProviderClient(ctx, auth, config.WithHTTPClient(client))
	if err != nil {
		return nil, err
	}
	provider.ReauthFunc = func(ctx context.Context) error { return o.renew(ctx, provider, client) }
	return &Session{Cloud: o.Cloud, provider: provider, endpoint: endpoint}, nil
}

// renew gives p a new token.
func (o Options) renew(ctx context.Context, p *gophercloud.ProviderClient, client http.Client) error {
	auth, _, _, err := o.read()
	if err != nil {
		return err
	}
	fresh, err := config.NewProviderClient(ctx, auth, config.WithHTTPClient(client))
	if err != nil {
		return err
	}
	p.CopyTokenFrom(fresh)
	return nil
}

func projectOf(p *gophercloud.ProviderClient) (string, error) {
	token, is := p.GetAuthResult().(tokens.CreateResult)
	if !is {
		return "", errors.New("the token is not of Keystone's version 3")
	}
	project, err := token.ExtractProject()
	if err != nil || project == nil {
		return "", errors.Join(errors.New("the token has no project: name one in clouds.yaml"), err)
	}
	return project.ID, nil
}

// Network returns a client of Neutron, or an error if the cloud has no Neutron.
func (s *Session) Network() (*gophercloud.ServiceClient, error) {
	c, err := clients.NewNetworkV2(s.provider, s.endpoint)
	return c, ClassifyError("find Neutron of cloud "+s.Cloud, err)
}

// LoadBalancer returns a client of Octavia. The error wraps
// gophercloud.ErrEndpointNotFound if the cloud has no Octavia.
func (s *Session) LoadBalancer() (*gophercloud.ServiceClient, error) {
	c, err := clients.NewLoadBalancerV2(s.provider, s.endpoint)
	return c, ClassifyError("find Octavia of cloud "+s.Cloud, err)
}

// Identity returns a client of Keystone, or nil if the service catalog has no
// address of Keystone.
func (s *Session) Identity() *gophercloud.ServiceClient {
	c, err := clients.NewIdentityV3(s.provider, s.endpoint)
	if err != nil {
		return nil
	}
	return c
}
