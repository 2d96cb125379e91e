package lab

import (
	"fmt"
	"strings"
	"time"
)

// poolSocketEnv names the environment variable with the socket of a controller outside
// the cluster. kubectl ko reads it.
const poolSocketEnv = "ISTHMUS_POOL_SOCKET"

// summary prints what the lab has and commands to try.
func (l *Lab) summary(took time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe lab is up (%.1f s), in %s\n\n", took.Seconds(), l.Dir)
	for _, n := range l.nodes {
		what := "kubelet, containerd, OVS and ovn-controller of its own"
		if _, err := named(l.kubelets(), n.Name); err != nil {
			what = "OVS and ovn-controller of its own"
		}
		fmt.Fprintf(&b, "  %-18s %-22s %s\n", n.Name, n.Addr.Addr(), what)
	}
	fmt.Fprintf(&b, "  %-18s https://%s\n", "Kubernetes", l.cluster().Server())
	fmt.Fprintf(&b, "  %-18s %s  %s\n", "OVN", l.central().NB(), l.central().SB())
	if l.OpenStack {
		fmt.Fprintf(&b, "  %-18s http://%s:5000 (Keystone), :9696 (Neutron), :9876 (Octavia)\n", "OpenStack", l.site().Gateway().Addr())
	}
	machines, err := l.Machines().guests().List()
	if err != nil {
		return err
	}
	for _, g := range machines {
		fmt.Fprintf(&b, "  %-18s %s, a virtual machine on %s and on network %s\n", g.Name, g.Address, g.Node, g.Network)
	}
	fmt.Fprintf(&b, "\nTry:\n  eval \"$(%s env%s)\"\n  kubectl get nodes -o wide\n  ovn-nbctl show\n", l.self(), l.dirFlag())
	if l.OpenStack {
		fmt.Fprint(&b, "  openstack network list\n")
	}
	if l.Isthmus {
		fmt.Fprint(&b, "  kubectl get vpc,subnet\n")
	}
	fmt.Fprintf(&b, "  isthmus-lab exec node1 -- ip -br addr\n")
	if len(machines) > 0 {
		fmt.Fprintf(&b, "  isthmus-lab exec %s -- ip addr\n", machines[0].Name)
	}
	_, err = fmt.Fprint(l.Out, b.String())
	return err
}
