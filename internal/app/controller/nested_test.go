package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
)

// address NODE ADDRESS writes what a kubelet and an agent report of a node: its
// address and MACs.
func (w *world) address(args []string) error {
	err := w.client.Patch(context.Background(), objectOf("node", args[0]), client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"fa:16:3e:f4:82:3c,fa:16:3e:f4:82:3d,fa:16:3e:f4:82:3e"}}}`, v1.AnnotationMACs)))
	if err != nil {
		return err
	}
	return w.client.Status().Patch(context.Background(), objectOf("node", args[0]), client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, args[1])))
}

// tagged PORT waits until the claim and OVN have the same VLAN id, and no other
// subport has it.
func (w *world) tagged(args []string) error {
	return eventually("yes", func() (string, error) {
		ip := &v1.IP{}
		if err := w.client.Get(context.Background(), types.NamespacedName{Name: args[0]}, ip); err != nil || ip.Spec.Attach.VLAN == nil {
			return "no VLAN", err
		}
		find := []string{"--bare", "--columns=name", "find", "logical_switch_port", "parent_name=" + w.parentOf(args[0]), fmt.Sprint("tag=", ip.Spec.Attach.VLAN.Tag)}
		if got := strings.TrimSpace(w.nbdb.Nbctl(find...)); got != args[0] {
			return "has it: " + got, nil
		}
		return "yes", nil
	})
}

func (w *world) parentOf(port string) string {
	return strings.Trim(strings.TrimSpace(w.nbdb.Nbctl("--bare", "--columns=parent_name", "list", "logical_switch_port", port)), `"`)
}

// subport NAME PORT gives a Neutron subport the VLAN id that PORT has. It also
// waits for the event here, because a controller that is killed before may not
// record it.
func (w *world) subport(args []string) error {
	tag := strings.TrimSpace(w.nbdb.Nbctl("get", "logical_switch_port", args[1], "tag"))
	w.nbdb.Nbctl("lsp-add", "neutron-cd59e36a-37db-4c27-b709-d35379a7920f", args[0],
		"--", "set", "logical_switch_port", args[0], "parent_name="+w.parentOf(args[1]), "tag="+tag)
	if err := w.event([]string{"VLANMoved", "not " + tag + ":"}); err != nil {
		return err
	}
	return w.tagged(args[1:])
}

// machine NAME ADDRESS creates a virtual machine's port in OpenStack, which is
// up, and a trunk on it. It also writes the port into OVN, as Neutron does.
func (w *world) machine(args []string) error {
	name, address := args[0], args[1]
	port, _ := w.cloud.Trunk(name)
	w.nbdb.Nbctl("ls-add", "net-of-"+name, "--", "lsp-add", "net-of-"+name, port,
		"--", "lsp-set-addresses", port, "fa:16:3e:f4:82:3c "+address)
	return nil
}

// behind FILE MACHINE waits until the file has the names of the subports of a
// machine's trunk.
func (w *world) behind(args []string) error {
	return w.compare(args[0], func() (string, error) {
		var names []string
		for id := range w.cloud.Behind(w.machinePort(args[1])) {
			names = append(names, w.objects("ports")[id].Name)
		}
		slices.Sort(names)
		return strings.Join(slices.Compact(names), "\n"), nil
	})
}

func (w *world) machinePort(name string) string {
	for id, o := range w.objects("ports") {
		if o.Name == name {
			return id
		}
	}
	return ""
}

// claimed CLAIM MACHINE waits until the claim and Neutron have the same VLAN id
// for the same port.
func (w *world) claimed(args []string) error {
	return eventually("yes", func() (string, error) {
		ip := &v1.IP{}
		if err := w.client.Get(context.Background(), types.NamespacedName{Name: args[0]}, ip); err != nil || ip.Spec.Attach.VLAN == nil {
			return "no VLAN", err
		}
		a := ip.Spec.Attach.VLAN
		p := w.objects("ports")[a.Port]
		if vlan := w.cloud.Behind(w.machinePort(args[1]))[a.Port]; vlan != int(a.Tag) || vlan == 0 || p.IPs[0].Addr != ip.Spec.V4IPAddress {
			return fmt.Sprintf("port %+v has VLAN id %d, the claim says %+v", p, vlan, ip.Spec), nil
		}
		return "yes", nil
	})
}
