package controller

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
)

// address NODE ADDRESS: what a kubelet says of its node.
func (w *world) address(args []string) error {
	return w.client.Status().Patch(context.Background(), objectOf("node", args[0]), client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, args[1])))
}

// tagged PORT: the claim and OVN say the same VLAN id, which nobody else has there.
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

// subport NAME PORT: Neutron gives one of its ports the VLAN id that PORT has. A
// controller that is killed meanwhile may tell nobody, so what it tells is here, too.
func (w *world) subport(args []string) error {
	tag := strings.TrimSpace(w.nbdb.Nbctl("get", "logical_switch_port", args[1], "tag"))
	w.nbdb.Nbctl("lsp-add", "neutron-cd59e36a-37db-4c27-b709-d35379a7920f", args[0],
		"--", "set", "logical_switch_port", args[0], "parent_name="+w.parentOf(args[1]), "tag="+tag)
	if err := w.event([]string{"VLANMoved", "not " + tag + ":"}); err != nil {
		return err
	}
	return w.tagged(args[1:])
}
