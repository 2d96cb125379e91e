package guest

import (
	"context"
	"errors"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
)

// A port has one binding per host: the host of its guest, and the target host of a
// migration. One binding is active.

// addBinding adds a binding for the target host of a migration and announces the migration
// to OVN in the port's binding profile. It accepts an existing binding.
func addBinding(ctx context.Context, n openstack.Network, port, host string) error {
	body := map[string]any{"binding": map[string]any{"host": host}}
	//nolint:bodyclose // gophercloud reads and closes it
	_, err := n.Post(ctx, n.ServiceURL("ports", port, "bindings"), body, &struct{}{}, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusCreated}})
	if err != nil && !gophercloud.ResponseCodeIs(err, http.StatusConflict) { // it exists
		return err
	}
	return setBindingProfile(ctx, n, port, map[string]any{"migrating_to": host})
}

// withdrawMigration withdraws the announcement of a migration.
func withdrawMigration(ctx context.Context, n openstack.Network, port string) error {
	return ignoreNotFound(setBindingProfile(ctx, n, port, map[string]any{}))
}

func setBindingProfile(ctx context.Context, n openstack.Network, port string, profile map[string]any) error {
	return ports.Update(ctx, n.ServiceClient, port, portsbinding.UpdateOptsExt{UpdateOptsBuilder: ports.UpdateOpts{}, Profile: profile}).Err
}

// activate makes the binding of a host the active one.
func activate(ctx context.Context, n openstack.Network, port, host string) error {
	//nolint:bodyclose // gophercloud reads and closes it
	_, err := n.Put(ctx, n.ServiceURL("ports", port, "bindings", host, "activate"), nil, &struct{}{}, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	if err != nil {
		return errors.Join(errors.New("the guest is there, but its port is not"), err)
	}
	return nil
}

func unbind(ctx context.Context, n openstack.Network, port, host string) error {
	//nolint:bodyclose // gophercloud reads and closes it
	_, err := n.Delete(ctx, n.ServiceURL("ports", port, "bindings", host), nil)
	return ignoreNotFound(err)
}
