package neutron

import (
	"testing"

	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// podRequest is the request of a pod on a node.
func podRequest(node string) plan.Fields {
	return plan.Fields{
		"binding:host_id": node, "project_id": "P", "network_id": "N", "device_owner": plan.DeviceOwner,
		"fixed_ips": plan.FixedIPs{{Subnet: "S"}}, "security_groups": plan.Set{"G"}, "port_security_enabled": true,
	}
}

// readyPort is a ready port of the pool.
func readyPort(id, node string) plan.Object {
	f := podRequest(node)
	f["fixed_ips"] = plan.FixedIPs{{Subnet: "S", Addr: "10.9.0.9"}}
	f["status"], f["device_id"], f["mac_address"] = "DOWN", "", "fa:16:3e:00:00:01"
	return plan.Object{Kind: plan.KindPort, Name: plan.PooledName, ID: id, Fields: f}
}

// requestIn is the request of a pod on a node that is in a group.
func requestIn(node, group string) plan.Fields {
	f := podRequest(node)
	f["security_groups"] = plan.Set{group}
	return f
}

func TestOnlyPortsThatFitComeFromThePool(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(plan.Fields){
		"an address":      func(f plan.Fields) { f["fixed_ips"] = plan.FixedIPs{{Subnet: "S", Addr: "10.9.0.9"}} },
		"no subnet":       func(f plan.Fields) { f["fixed_ips"] = plan.FixedIPs{{}} },
		"a MAC":           func(f plan.Fields) { f["mac_address"] = "02:00:00:00:00:01" },
		"no security":     func(f plan.Fields) { f["port_security_enabled"] = false },
		"unknown groups":  func(f plan.Fields) { delete(f, "security_groups") },
		"another group":   func(f plan.Fields) { f["security_groups"] = plan.Set{"H"} },
		"no node":         func(f plan.Fields) { f["binding:host_id"] = "" },
		"another node":    func(f plan.Fields) { f["binding:host_id"] = "n2" },
		"another subnet":  func(f plan.Fields) { f["fixed_ips"] = plan.FixedIPs{{Subnet: "T"}} },
		"another project": func(f plan.Fields) { f["project_id"] = "Q" },
	} {
		f := &Fabric{nodes: map[string]string{}}
		pools := portpool.New(portpool.Options{Limits: &portpool.Limits{Min: 1}})
		pools.Sync(func(portpool.Port) bool { return true }, []portpool.Port{f.portOf(readyPort("a", "n1"))})
		w := podRequest("n1")
		change(w)
		if r := requestOf(w); r.Fits && r.MAC == "" && len(r.Addrs) == 0 && r.Key == requestOf(podRequest("n1")).Key {
			t.Errorf("who asks for %s got one from the pool", name)
		}
		if _, any := pools.Obtain(requestOf(podRequest("n1"))); !any {
			t.Error("the right one got none")
		}
	}
}

// The pods on a node end after the node. That does not bring its pools back.
func TestNoAlwaysFilledPoolOnMissingNode(t *testing.T) {
	t.Parallel()
	f := &Fabric{groups: newRegister(), Options: Options{
		AlwaysFilled: func(string, []string) bool { return true }, NodeExists: func(node string) bool { return node == "n1" },
	}}
	always := func(want plan.Fields) bool { return f.alwaysFilled(requestOf(want)) }
	nested := func(node string) plan.Fields {
		w := requestIn("", "standard")
		w["node"], w["parent"] = node, "vm"
		return w
	}
	if !always(requestIn("n1", "standard")) || !always(nested("n1")) {
		t.Error("of a node that is there they are kept")
	}
	if always(requestIn("n2", "standard")) || always(nested("n2")) {
		t.Error("node n2 is gone")
	}
}

// A pool's ports have the fields of the pods that ask for them, except for those that are
// a pod's own.
func TestPortsOfAPoolFitIt(t *testing.T) {
	t.Parallel()
	w := requestIn("n1", "standard")
	w["mac_address"], w["fixed_ips"] = "fa:16:3e:00:00:01", plan.FixedIPs{{Subnet: "s", Addr: "10.0.0.5"}}
	k := requestOf(w).Key
	like := poolPort(k, plan.Owner{Name: "c1", Unit: poolUnit("n1")}, true)
	if _, chosen := like["mac_address"]; chosen || like["fixed_ips"].(plan.FixedIPs)[0].Addr != "" {
		t.Errorf("ports are created with a pod's addresses: %v", like)
	}
	if r := requestOf(like); !r.Fits || r.Key != k {
		t.Errorf("they are for pool %+v, not %+v", r.Key, k)
	}
}
