package neutron

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// podWithAddresses is a pod that asks for addresses.
func podWithAddresses(name, node string, addrs []netip.Prefix) intent.Want {
	w := podWant(name, node)
	for _, a := range addrs {
		w.Ports[0].Addrs = append(w.Ports[0].Addrs, a.Addr())
	}
	return w
}

// A port with an address that a pod asked for comes back into the pool. The next pod that
// asks for the address gets that port, on any node and in any groups.
func TestPoolHasRequestedAddress(t *testing.T) {
	t.Parallel()
	for _, node := range []string{"node1", "node2"} {
		c := neutrontest.New(t)
		f := startPool(t, c, portpool.Limits{Min: 2, Batch: 2})
		apply(t, f, "policy/ns/web", policyWant())
		was := returnedPort(t, f)
		w := podWithAddresses("ns/b", node, was.Addrs)
		w.Ports[0].Groups = []string{"np.web"}
		now := apply(t, f, "pod/ns/b", w).Ports["ns/b"]
		if now.ID != was.ID {
			t.Errorf("the pod on %s has port %s, and %s has the address", node, now.ID, was.ID)
		}
		if host := c.Thing("ports", now.ID)["binding:host_id"]; host != node {
			t.Errorf("the port of the pod on %s is bound to %v", node, host)
		}
		if observed := apply(t, f, "pod/ns/b", w); observed.Ports["ns/b"].ID != was.ID {
			t.Errorf("the same again: %+v", observed)
		}
	}
}

// returnedPort returns a pod's port after the pool has it back.
func returnedPort(t *testing.T, f *Fabric) intent.PortStatus {
	t.Helper()
	was := apply(t, f, "pod/ns/a", podWant("ns/a", "node1")).Ports["ns/a"]
	awaitFull(t, f, 2)
	apply(t, f, "pod/ns/a", intent.Want{})
	awaitFull(t, f, 3)
	return was
}

// If the pool's port cannot be changed into the wanted one, it is deleted first.
func TestPoolPortDeletedForRequestedMAC(t *testing.T) {
	t.Parallel()
	f := startPool(t, neutrontest.New(t), portpool.Limits{Min: 2, Batch: 2})
	was := returnedPort(t, f)
	w := podWithAddresses("ns/b", "node1", was.Addrs)
	w.Ports[0].MAC = "02:00:00:00:00:77"
	var now intent.PortStatus
	eventually(t, time.Minute, "the pool's port is gone", func() bool {
		observed, err := f.Apply(t.Context(), "pod/ns/b", w)
		var wait intent.Wait
		if err != nil && (!errors.As(err, &wait) || wait.Reason != "AddressTaken") {
			t.Fatal(err)
		}
		now = observed.Ports["ns/b"]
		return err == nil
	})
	if now.ID == was.ID || now.MAC != "02:00:00:00:00:77" {
		t.Errorf("the pod has %+v, and had %+v", now, was)
	}
}
