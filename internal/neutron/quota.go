package neutron

import (
	"context"

	"github.com/isthmus-cni/isthmus/internal/neutron/client"
)

// Quotas returns the quotas of our project by Neutron's name of the kind, such as
// "security_group". It returns none if this Neutron does not report them.
func (f *Fabric) Quotas(ctx context.Context) (map[string]client.Quota, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	return a.Quotas(ctx)
}
