package neutron

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// extPools is the extension that takes subnets' prefixes from pools.
const extPools = "subnet_allocation"

// prefixPool is a subnet pool of Neutron's.
type prefixPool struct {
	ID     string
	Family int
}

// askPool learns which pool a segment means, if something is to be taken from it.
func (a *api) askPool(ctx context.Context, s intent.Network, e *entry, out around) error {
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
	out.pools[s.SubnetPool] = prefixPool{w.ID, w.IPVersion}
	return err
}

// hasAll tells whether a segment's subnets are there.
func (e *entry) hasAll(s intent.Network) bool {
	for _, p := range s.Prefixes {
		if !slices.ContainsFunc(e.objects, func(o object) bool { return o.kind == kindSubnet && text(o, "cidr") == p.Masked().String() }) {
			return false
		}
	}
	return true
}

// chosen is a subnet whose prefix Neutron chooses.
func (t *translation) chosen(s intent.Network, network ref) {
	pool := t.pools[s.SubnetPool]
	t.add(object{kind: kindSubnet, name: subnetOf(s.Name, pool.Family), fields: fields{
		"network_id": network, "subnetpool_id": pool.ID, "prefixlen": s.PrefixBits, "ip_version": pool.Family, "enable_dhcp": false,
	}})
}

// subnetsOf are the names of a segment's subnets.
func (t *translation) subnetsOf(s intent.Network) []string {
	if len(s.Prefixes) == 0 && s.SubnetPool != "" {
		return []string{subnetOf(s.Name, t.pools[s.SubnetPool].Family)}
	}
	var names []string
	for _, p := range s.Prefixes {
		names = append(names, subnetName(s.Name, p))
	}
	return names
}

// exhausted maps the error of a call that makes an object, as classifyError does.
// If a subnet pool has no prefix left, Neutron answers status 500 and no more.
func exhausted(s step, err error) error {
	doing := describe([]step{s})
	a, answered := openstack.AnswerOf(err)
	if s.kind != kindSubnet || s.fields["subnetpool_id"] == nil || !answered || a.Code != http.StatusInternalServerError {
		return classifyError(create, doing, err)
	}
	return intent.Wait{Reason: "SubnetPoolFull", After: rare, For: fmt.Sprintf(
		"%s %s: a free prefix in subnet pool %s, it seems: Neutron fails where a pool has none (%s)", create, doing, s.fields["subnetpool_id"], a.Text)}
}
