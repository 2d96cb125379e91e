package neutron

import (
	"context"
	"net/http"
)

// extQuotas is the extension that tells how much of a quota is used.
const extQuotas = "quota_details"

// Quota is how many things of a kind our project may have, less than 0 for any
// number, and how many it has.
type Quota struct{ Limit, Used int }

// Quotas are our project's by Neutron's word for the kind, "security_group"; none
// where this Neutron does not tell.
func (f *Fabric) Quotas(ctx context.Context) (map[string]Quota, error) {
	a, err := f.api(ctx)
	if err != nil || !a.aliases[extQuotas] {
		return nil, err
	}
	var answer struct {
		Quota map[string]struct{ Limit, Used, Reserved int }
	}
	_, err = a.client.Get(ctx, a.client.ServiceURL("quotas", a.project, "details.json"), &answer, ok(http.StatusOK))
	out := map[string]Quota{}
	for kind, q := range answer.Quota {
		out[kind] = Quota{q.Limit, q.Used + q.Reserved}
	}
	return out, classifyError("ask for", "the quotas of project "+a.project, err)
}
