package openstack

import (
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// Network is a Neutron client of one project.
type Network struct {
	*gophercloud.ServiceClient
	// Project is the project's id.
	Project string
}

// Dial signs in to one cloud of a clouds.yaml and returns a client for its project.
func Dial(ctx context.Context, cloudsFile, cloud string) (Network, error) {
	auth, endpoint, _, err := clouds.Parse(clouds.WithCloudName(cloud), clouds.WithLocations(cloudsFile))
	if err != nil {
		return Network{}, fmt.Errorf("cloud %s of %s: %w", cloud, cloudsFile, err)
	}
	auth.AllowReauth = true
	provider, err := config.NewProviderClient(ctx, auth, config.WithHTTPClient(*directClient()))
	if err != nil {
		return Network{}, fmt.Errorf("sign in to cloud %s: %w", cloud, err)
	}
	token, ok := provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return Network{}, fmt.Errorf("sign in to cloud %s: the token is not Keystone's v3", cloud)
	}
	project, err := token.ExtractProject()
	if err != nil || project == nil {
		return Network{}, fmt.Errorf("project of cloud %s: %w", cloud, err)
	}
	client, err := openstack.NewNetworkV2(provider, endpoint)
	if err != nil {
		return Network{}, fmt.Errorf("neutron of cloud %s: %w", cloud, err)
	}
	return Network{client, project.ID}, nil
}
