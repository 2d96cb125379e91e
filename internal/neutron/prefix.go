package neutron

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

const extPools = "subnet_allocation" // the extension for subnet pools

// findSubnetPool finds the subnet pool of a network, if a prefix has to be allocated from it.
func findSubnetPool(ctx context.Context, a *client.Client, s intent.Network, e *entry, out plan.Dependencies) error {
	if s.SubnetPool == "" || len(s.Prefixes) > 0 && e.hasSubnets(s) {
		return nil
	}
	if !a.Extensions[extPools] {
		return intent.Stop{Reason: "NotSupported", Why: fmt.Sprintf("network %s: this Neutron lacks extension %s, without which no prefix comes from a pool", s.Name, extPools)}
	}
	key := "name"
	if client.UUID.MatchString(s.SubnetPool) {
		key = "id"
	}
	w, err := a.Find(ctx, SubnetPool, url.Values{key: {s.SubnetPool}}, s.SubnetPool)
	out.Pools[s.SubnetPool] = plan.PrefixPool{ID: w.ID, Family: w.IPVersion}
	return err
}

// hasSubnets reports whether all subnets of a network exist.
func (e *entry) hasSubnets(s intent.Network) bool {
	for _, p := range s.Prefixes {
		if !slices.ContainsFunc(e.objects, func(o plan.Object) bool { return o.Kind == plan.KindSubnet && o.Text("cidr") == p.Masked().String() }) {
			return false
		}
	}
	return true
}
