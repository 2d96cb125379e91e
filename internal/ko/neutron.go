package ko

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

func (t *tool) neutron() *cobra.Command {
	c := &cobra.Command{Use: "neutron", Short: "What concerns the OpenStack beside us", Args: cobra.NoArgs}
	c.AddCommand(&cobra.Command{
		Use:   "config",
		Short: "Print what Neutron's ml2_conf.ini and each host's Open vSwitch must say to share this cluster's OVN",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return t.neutronConfig(c.Context()) },
	}, t.neutronCleanup())
	return c
}

func (t *tool) neutronConfig(ctx context.Context) error {
	client, s, err := t.cluster(ctx)
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	_, err = fmt.Fprint(t.Out, neutronText(s, hosts(nodes.Items)))
	return err
}

// host is a node in the configuration of Open vSwitch.
type host struct{ Name, Address string }

// hosts returns the nodes sorted by name, with their first internal address. It omits
// nested nodes, which are virtual machines without Open vSwitch of OVN.
func hosts(nodes []corev1.Node) []host {
	var all []host
	for _, n := range nodes {
		if v1.Nested(n.Labels, n.Annotations) {
			continue
		}
		h := host{Name: n.Name}
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP && h.Address == "" {
				h.Address = a.Address
			}
		}
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b host) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// neutronText returns the output of the command. Lines that begin with # are for the
// reader; the others can be copied unchanged.
func neutronText(s settings.Settings, hosts []host) string {
	var b strings.Builder
	southbound := strings.Join(s.SBAddresses, ",")
	fmt.Fprintf(&b, `# /etc/neutron/plugins/ml2/ml2_conf.ini, wherever neutron-server runs;
# restart neutron-server after a change
[ovn]
ovn_nb_connection = %s
ovn_sb_connection = %s
ovn_l3_scheduler = leastloaded
# neutron_sync_mode = repair deletes what it does not know, at each start
neutron_sync_mode = log
`, strings.Join(s.NBAddresses, ","), orElse(southbound, "# give sbAddresses in ConfigMap "+settings.Namespace+"/"+settings.ConfigMap))
	for _, a := range slices.Concat(s.NBAddresses, s.SBAddresses) {
		if strings.HasPrefix(a, "unix:") {
			fmt.Fprintf(&b, "# %s is a local socket: another host needs a tcp: or ssl: address\n", a)
		}
	}
	for _, h := range hosts {
		fmt.Fprintf(&b, `
# on host %[1]s, which must be the name that Neutron knows it by (binding:host_id);
# external-ids:system-id stays as it is and must differ from host to host
ovs-vsctl set open . external-ids:hostname=%[1]s
ovs-vsctl set open . external-ids:ovn-remote=%[2]s
ovs-vsctl set open . external-ids:ovn-encap-type=geneve
ovs-vsctl set open . external-ids:ovn-encap-ip=%[3]s
`, h.Name, orElse(southbound, "SB_ADDRESSES"), orElse(h.Address, "IP_ADDRESS  # the node has no InternalIP: an address that all nodes reach"))
	}
	return b.String()
}

func orElse(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
