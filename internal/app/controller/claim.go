package controller

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// reportClaim makes the IP object had into the one that is to be, nil for none.
func (c *cluster) reportClaim(ctx context.Context, u intent.Unit, had, ip *v1.IP, out unit.Outcome) error {
	switch {
	case !out.Applied:
		return nil
	case ip == nil:
		return c.release(ctx, u, had)
	case out.State != unit.Done:
		return nil
	}
	if err := c.writeClaim(ctx, had, ip); err != nil {
		return err
	}
	c.book.FreeElsewhere(string(u), ip.Spec.Subnet)
	return nil
}

// bind completes a claim with what the fabric chose for its port, the only one
// of the unit, and notes whose its addresses are.
func (c *cluster) bind(u intent.Unit, ip *v1.IP, out unit.Outcome) error {
	if ip == nil || out.State != unit.Done {
		return nil
	}
	for _, b := range out.Observed.Ports {
		decide.Bind(ip, b)
		return c.book.Hold(ip.Spec.Subnet, string(u), decide.Addrs(ip))
	}
	return nil
}

// writeClaim costs one write, or none where nothing changes.
func (c *cluster) writeClaim(ctx context.Context, had, ip *v1.IP) error {
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

// release frees the addresses, whose port is gone by now, then takes the claim
// away: that is what wakes those who wait for an address, or for the Subnet to
// be empty, and they must not find it still in use.
func (c *cluster) release(ctx context.Context, u intent.Unit, had *v1.IP) error {
	c.book.Free(string(u))
	if had == nil || decide.IPUnit(had) != u {
		return nil
	}
	return client.IgnoreNotFound(c.client.Delete(ctx, had, client.Preconditions{UID: &had.UID}))
}
