package agent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/trunktest"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

func tagged(uid string, tag int32) *v1.IP {
	ip := podClaim(uid)
	ip.Spec.Attach = v1.Attach{VLAN: &v1.AttachVLAN{Parent: strings.ToUpper(trunktest.MAC), Tag: tag}}
	ip.Spec.V4IPAddress, ip.Spec.V4Gateway, ip.Spec.Routes = "12.0.101.2", "12.0.101.1", nil
	if tag == 102 {
		ip.Spec.V4IPAddress, ip.Spec.V4Gateway = "12.0.102.2", "12.0.102.1"
	}
	return ip
}

func TestNestedProbes(t *testing.T) {
	mark := func(container, uid string) plug.Mark {
		return plug.Mark{Container: container, Link: "eth0", UID: uid, VLAN: "101@" + trunktest.MAC}
	}
	host := func(container string) string { return plug.HostLinkName(container, "eth0") }
	links := []netdev.Link{
		{Name: host("old"), Index: 3, Mark: mark("old", "uid-1")},
		{Name: host("new"), Index: 9, Mark: mark("new", "uid-1")},
		{Name: "i0", Index: 10, Mark: mark("new", "uid-1")},
		{Name: host("lost"), Index: 4, Mark: mark("lost", "uid-3")},
	}
	other := *podClaim("uid-3") // of a pod that is plugged into a switch
	got := nestedProbes(nestedPods(links, []v1.IP{*tagged("uid-1", 101), *tagged("uid-2", 102), other, {ObjectMeta: metav1.ObjectMeta{Name: "node-x"}}}))
	want := []nodenet.Probe{{Pod: "net2/a", Addr: netip.MustParseAddr("12.0.101.2"), Link: host("new")}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// retagged returns a running pod only if its claim names another VLAN or parent.
func TestRetagged(t *testing.T) {
	link := netdev.Link{Name: plug.HostLinkName("c1", "eth0"), Mark: plug.Mark{Container: "c1", Link: "eth0", UID: "uid-1", VLAN: "101@" + trunktest.MAC}}
	elsewhere := tagged("uid-1", 101)
	elsewhere.Spec.Attach.VLAN.Parent = "fa:16:3e:00:00:02"
	for name, row := range map[string]struct {
		claim *v1.IP
		moved bool
	}{
		"the same": {tagged("uid-1", 101), false}, "another VLAN": {tagged("uid-1", 102), true},
		"another parent": {elsewhere, true}, "another pod": {tagged("uid-2", 102), false},
	} {
		if got := retagged(nestedPods([]netdev.Link{link}, []v1.IP{*row.claim})); (len(got) > 0) != row.moved {
			t.Errorf("%s: to move %+v", name, got)
		}
	}
}
