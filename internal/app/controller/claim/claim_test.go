package claim

import (
	"context"
	"net/netip"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// A unit that runs because a claim was deleted must find its addresses free: a
// Subnet that is being deleted checks only once, and would otherwise wait
// forever.
func TestAddressesAreFreeBeforeClaimIsDeleted(t *testing.T) {
	ip := &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: "a.n"}, Spec: v1.IPSpec{PodName: "a", Namespace: "n", Subnet: "s"}}
	c := &Claims{}
	var users []string
	c.client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(kube.NewScheme()).WithObjects(ip).Build(), interceptor.Funcs{
		Delete: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			users = c.Owners("s")
			return w.Delete(ctx, o, opts...)
		},
	})
	u := decide.PodUnit("n", "a")
	if err := c.Define("s", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next("s", string(u)); err != nil {
		t.Fatal(err)
	}
	if err := c.release(t.Context(), u, ip); err != nil || len(users) > 0 {
		t.Errorf("the claim went while %v had its addresses: %v", users, err)
	}
}
