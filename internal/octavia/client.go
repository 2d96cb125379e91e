package octavia

import (
	"context"
	"fmt"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/apiversions"

	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// callTimeout is the time limit of one call. Provider ovn processes the members of a pool
// while the call waits, half a second for each member.
const callTimeout = 90 * time.Second

// client is the session of one user with Octavia, and with Neutron for floating
// IPs and the ports of virtual IPs.
type client struct {
	octavia, neutron *gophercloud.ServiceClient
	floating         floatingIPs
	project          string
	version          Version
	removed          func(what string)
}

// connect signs in and reads the version of this Octavia.
func (f *Fabric) connect(ctx context.Context) (*client, error) {
	session, err := openstack.SignIn(ctx, openstack.Options{Cloud: f.Cloud, CloudsFile: f.CloudsFile, Timeout: callTimeout, Count: f.Count})
	if err != nil {
		return nil, err
	}
	c := &client{project: session.Project, removed: f.Removed}
	if c.neutron, err = session.Network(); err != nil {
		return nil, err
	}
	c.floating = floatingIPs{c.neutron, f.Removed}
	if c.octavia, err = session.LoadBalancer(); err != nil {
		return nil, err
	}
	if err := c.readVersion(ctx); err != nil {
		return nil, err
	}
	f.Log.Info("signed in to Octavia", "cloud", f.Cloud, "project", c.project, "version", c.version.String())
	return c, nil
}

// readVersion finds the newest version of Octavia's API.
func (c *client) readVersion(ctx context.Context) error {
	pages, err := apiversions.List(c.octavia).AllPages(ctx)
	if err != nil {
		return classifyError("list the versions of Octavia's API", err)
	}
	all, err := apiversions.ExtractAPIVersions(pages)
	if err != nil {
		return fmt.Errorf("versions of Octavia's API: %w", err)
	}
	for _, v := range all {
		if known, is := parseVersion(v.ID); is && known.atLeast(c.version) {
			c.version = known
		}
	}
	return nil
}
