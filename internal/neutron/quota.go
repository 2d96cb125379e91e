package neutron

import (
	"context"

	"github.com/isthmus-cni/isthmus/internal/neutron/client"
)

// Quotas are our project's by Neutron's word for the kind, "security_group"; none
// where this Neutron does not tell.
func (f *Fabric) Quotas(ctx context.Context) (map[string]client.Quota, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	return a.Quotas(ctx)
}
