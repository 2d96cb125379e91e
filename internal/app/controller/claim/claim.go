// Package claim knows which unit has which address: it has the allocator, and the
// IP objects that record the same in Kubernetes. An IP object is a claim: it is
// written when the port exists and deleted when the port is gone. Read claim.go
// first; load.go runs at a start.
package claim

import (
	"context"
	"log/slog"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ipam"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// Claims writes claims and allocates the addresses in them.
type Claims struct {
	ipam.Allocator
	client client.Client
	log    *slog.Logger
}

// New returns Claims that know no Subnet and no address; see Load.
func New(c client.Client, log *slog.Logger) *Claims { return &Claims{client: c, log: log} }

// Report replaces the claim had with ip. Either may be nil; if ip is nil, it
// deletes the claim. It does nothing unless the unit's want was applied.
func (c *Claims) Report(ctx context.Context, u intent.Unit, had, ip *v1.IP, out unit.Outcome) error {
	switch {
	case !out.Applied:
		return nil
	case ip == nil:
		return c.release(ctx, u, had)
	case out.State != unit.Done:
		return nil
	}
	if err := c.write(ctx, had, ip); err != nil {
		return err
	}
	c.FreeElsewhere(string(u), ip.Spec.Subnet)
	return nil
}

// Bind completes ip with what the fabric chose for the unit's only port, and
// records that the unit has its addresses. ip may be nil.
func (c *Claims) Bind(u intent.Unit, ip *v1.IP, out unit.Outcome) error {
	if ip == nil || out.State != unit.Done {
		return nil
	}
	for _, b := range out.Observed.Ports {
		decide.Bind(ip, b)
		return c.Hold(ip.Spec.Subnet, string(u), decide.Addrs(ip))
	}
	return nil
}

// write creates or updates the claim. It writes nothing if nothing changes.
func (c *Claims) write(ctx context.Context, had, ip *v1.IP) error {
	if had == nil {
		return c.client.Create(ctx, ip)
	}
	after := had.DeepCopy()
	after.Spec = ip.Spec
	after.Labels = maps.Clone(had.Labels)
	if after.Labels == nil {
		after.Labels = map[string]string{}
	}
	delete(after.Labels, v1.LabelNode)
	maps.Copy(after.Labels, ip.Labels)
	if equality.Semantic.DeepEqual(had.Spec, after.Spec) && maps.Equal(had.Labels, after.Labels) {
		return nil
	}
	return c.client.Update(ctx, after)
}

// release frees the addresses of a deleted port, and then deletes the claim. The
// order matters: units that wait for an address, or until the Subnet is empty,
// run when the claim is deleted, and must find the address free.
func (c *Claims) release(ctx context.Context, u intent.Unit, had *v1.IP) error {
	c.Free(string(u))
	if had == nil || decide.IPUnit(had) != u {
		return nil
	}
	return client.IgnoreNotFound(c.client.Delete(ctx, had, client.Preconditions{UID: &had.UID}))
}
