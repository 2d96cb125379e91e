package octavia

import (
	"context"
	"fmt"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/apiversions"

	"github.com/isthmus-cni/isthmus/internal/openstack"
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
func (f *Fabric) connect(ctx context.Context) (*api, error) {
	session, err := openstack.SignIn(ctx, openstack.Options{Cloud: f.Cloud, CloudsFile: f.CloudsFile, Timeout: callTimeout, Count: f.Count})
	if err != nil {
		return nil, err
	}
	a := &api{project: session.Project, removed: f.Removed}
	if a.network, err = session.Network(); err != nil {
		return nil, err
	}
	if a.balancers, err = session.LoadBalancer(); err != nil {
		return nil, err
	}
	if err := a.ask(ctx); err != nil {
		return nil, err
	}
	f.Log.Info("signed in to Octavia", "cloud", f.Cloud, "project", a.project, "version", a.version.String())
	return a, nil
}

// ask finds the newest version of Octavia's API.
func (a *api) ask(ctx context.Context) error {
	pages, err := apiversions.List(a.balancers).AllPages(ctx)
	if err != nil {
		return classifyError("ask for the versions of Octavia's API", err)
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
