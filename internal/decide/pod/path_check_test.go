package pod

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// checkNetworks fails if two networks of one router overlap. It ignores networks
// with ports on them, because those are kept.
func (w *world) checkNetworks(t *rapid.T) {
	at := map[string]map[netip.Prefix]intent.Unit{}
	for u, want := range w.applied {
		for _, i := range want.RouterInterfaces {
			if slices.ContainsFunc(slices.Collect(maps.Values(w.leases)), func(lease string) bool { return strings.HasPrefix(lease, i.Network+" ") }) {
				continue
			}
			for _, p := range i.Addresses {
				for q, other := range at[i.Router] {
					if p.Masked().Overlaps(q) {
						t.Fatalf("router %s has %v of %s and %v of %s", i.Router, p, u, q, other)
					}
				}
				if at[i.Router] == nil {
					at[i.Router] = map[netip.Prefix]intent.Unit{}
				}
				at[i.Router][p.Masked()] = u
			}
		}
	}
}

func (w *world) checkPorts(t *rapid.T) {
	names, addrs := map[string]intent.Unit{}, map[string]intent.Unit{}
	for u, want := range w.applied {
		if w.objects[string(u)] == nil {
			t.Fatalf("%s is gone and wants %+v", u, want)
		}
		for _, p := range want.Ports {
			key := fmt.Sprint(p.Network, p.Addrs)
			if names[p.Name] != "" || addrs[key] != "" {
				t.Fatalf("%s has the port %s %s, as has %s %s", u, p.Name, key, names[p.Name], addrs[key])
			}
			names[p.Name], addrs[key] = u, u
			if len(w.applied[intent.Unit("subnet/"+p.Network)].Networks) != 1 {
				t.Fatalf("%s has a port on %s, which is not there", u, p.Network)
			}
			if ip := w.claims[p.Name]; ip == nil || decide.IPUnit(ip) != u || !slices.Equal(decide.Addrs(ip), p.Addrs) {
				t.Fatalf("%s has the port %+v and the claim %+v", u, p, ip)
			}
		}
	}
}

func (w *world) compareWithFresh(t *rapid.T) {
	fresh := newWorld()
	for name, is := range w.objects {
		fresh.add(name)
		if v, ok := is.(*v1.Vpc); ok && decide.External(v.Name) {
			fresh.objects[name] = v.DeepCopy() // The Vpc outlives its router while it is used.
		}
		if o, ok := w.objects[name].(metav1.Object); ok && !o.GetDeletionTimestamp().IsZero() {
			t.Fatalf("%s is still being deleted: %+v", name, w.leases)
		}
	}
	fresh.settle(t, known)
	if diff := cmp.Diff(fresh.kept, w.kept); diff != "" {
		t.Fatal("the way made a difference to what is refused:", diff)
	}
	for u := range w.kept {
		if len(fresh.applied[u].Networks) > 0 {
			t.Fatalf("%s is refused from the beginning and has %+v", u, fresh.applied[u])
		}
		delete(w.applied, u)
	}
	if diff := cmp.Diff(fresh.applied, w.applied, decidetest.Compare); diff != "" {
		t.Fatal("the way made a difference:", diff)
	}
	if len(w.leases)+len(w.claims) > 0 {
		t.Fatal("addresses are left:", w.leases, w.claims)
	}
}
