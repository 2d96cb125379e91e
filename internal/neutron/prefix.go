package neutron

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// extPools is the extension that takes subnets' prefixes from pools.
const extPools = "subnet_allocation"

// askPool learns which pool a segment means, if something is to be taken from it.
func (a *api) askPool(ctx context.Context, s intent.Network, e *entry, out plan.Dependencies) error {
	if s.SubnetPool == "" || len(s.Prefixes) > 0 && e.hasAll(s) {
		return nil
	}
	if !a.aliases[extPools] {
		return intent.Stop{Reason: "NotSupported", Why: fmt.Sprintf("network %s: this Neutron lacks extension %s, without which no prefix comes from a pool", s.Name, extPools)}
	}
	key := "name"
	if uuid.MatchString(s.SubnetPool) {
		key = "id"
	}
	w, err := a.find(ctx, SubnetPool, url.Values{key: {s.SubnetPool}}, s.SubnetPool)
	out.Pools[s.SubnetPool] = plan.PrefixPool{ID: w.ID, Family: w.IPVersion}
	return err
}

// hasAll tells whether a segment's subnets are there.
func (e *entry) hasAll(s intent.Network) bool {
	for _, p := range s.Prefixes {
		if !slices.ContainsFunc(e.objects, func(o plan.Object) bool { return o.Kind == plan.KindSubnet && o.Text("cidr") == p.Masked().String() }) {
			return false
		}
	}
	return true
}

// exhausted maps the error of a call that makes an object, as classifyError does.
// If a subnet pool has no prefix left, Neutron answers status 500 and no more.
func exhausted(s plan.Step, err error) error {
	doing := describe([]plan.Step{s})
	a, answered := openstack.AnswerOf(err)
	if s.Kind != plan.KindSubnet || s.Fields["subnetpool_id"] == nil || !answered || a.Code != http.StatusInternalServerError {
		return classifyError(plan.Create, doing, err)
	}
	return intent.Wait{Reason: "SubnetPoolFull", After: rare, For: fmt.Sprintf(
		"%s %s: a free prefix in subnet pool %s, it seems: Neutron fails where a pool has none (%s)", plan.Create, doing, s.Fields["subnetpool_id"], a.Text)}
}
