package neutron

import (
	"testing"

	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

// contractQuotas checks that the use of a quota includes our objects.
func contractQuotas(t *testing.T, f *Fabric) {
	t.Helper()
	before, err := f.Quotas(t.Context())
	if err != nil || before["network"].Used < 1 || before["port"].Limit == 0 {
		t.Fatalf("%v: %+v", err, before)
	}
	apply(t, f, "policy/ns/quota", policyWant())
	after, err := f.Quotas(t.Context())
	if err != nil || after["security_group"].Used != before["security_group"].Used+1 || after["security_group"].Limit != before["security_group"].Limit {
		t.Errorf("%v: %+v, was %+v", err, after["security_group"], before["security_group"])
	}
}

func TestQuotasWithoutExtension(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	c.Lack(client.ExtQuotas)
	if all, err := start(t, c, nil).Quotas(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%v: %+v", err, all)
	}
}
