package ovn

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// The provider network of the lab, as ovn-bridge-mappings says it.
const (
	External = "br-ex"
	Physnet  = "physnet1"
)

// Chassis is a node as OVN sees it.
type Chassis struct {
	Node  host.Node
	SB    string      // address of the southbound database
	Self  string      // the program that has the hidden command "keep-address"
	Peers []host.Node // the other nodes
	// Gateway is true where routers may have their way out.
	Gateway bool
}

// Controller is the name of the component that makes the node a chassis.
func (c Chassis) Controller() string { return c.name("ovn-controller") }

// Host is the name of the step that makes the node's namespaces.
func Host(n host.Node) string { return n.Name + "/host" }

// Address is the name of the component that keeps the node's address.
func Address(n host.Node) string { return n.Name + "/address" }

func (c Chassis) name(part string) string { return c.Node.Name + "/" + part }

func (c Chassis) socket() string { return "unix:" + c.Node.Private("/run/openvswitch/db.sock") }

// Components are the node's namespaces, its switch and its controller.
func (c Chassis) Components() []supervise.Component {
	return []supervise.Component{
		{Name: Host(c.Node), Needs: []string{Network}, Do: c.Node.Ensure},
		c.ovsdb(),
		{Name: c.name("ovs-settings"), Needs: []string{c.name("ovsdb")}, Do: c.configure},
		c.vswitchd(),
		c.address(),
		{
			Name:  c.Controller(),
			Needs: []string{Address(c.Node), "ovn-sb/settings"},
			Argv: c.Node.Enter("ovn-controller", "--pidfile=/run/ovn/ovn-controller.pid",
				"-vconsole:info", "-vsyslog:off", "unix:/run/openvswitch/db.sock"),
			Ready: c.registered,
		},
	}
}

func (c Chassis) ovsdb() supervise.Component {
	file := c.Node.Private("/etc/openvswitch/conf.db")
	return supervise.Component{
		Name:  c.name("ovsdb"),
		Needs: []string{Host(c.Node)},
		Argv: c.Node.Enter("ovsdb-server", "--pidfile=/run/openvswitch/ovsdb-server.pid",
			"--remote=punix:/run/openvswitch/db.sock", "-vconsole:info", "-vsyslog:off", "/etc/openvswitch/conf.db"),
		Prepare: func(ctx context.Context) error {
			return createDB(ctx, file, "/usr/share/openvswitch/vswitch.ovsschema")
		},
		Ready: answers("ovsdb-client", "--timeout=5", "list-dbs", c.socket()),
	}
}

// vswitchd runs under its own monitor, which starts it again when it crashes.
func (c Chassis) vswitchd() supervise.Component {
	return supervise.Component{
		Name:  c.name("ovs-vswitchd"),
		Needs: []string{c.name("ovs-settings")},
		Argv: c.Node.Enter("ovs-vswitchd", "--monitor", "--pidfile=/run/openvswitch/ovs-vswitchd.pid",
			"-vconsole:info", "-vsyslog:off", "unix:/run/openvswitch/db.sock"),
		Ready: answers("ovs-vsctl", "--timeout=5", "--db="+c.socket(), "wait-until", "interface", host.Uplink, "ofport>0"),
	}
}

// configure says what the chassis is. It needs no running switch: what it asks
// for is done when one starts.
func (c Chassis) configure(ctx context.Context) error {
	ids := []string{
		"system-id=" + c.Node.Name,
		"hostname=" + c.Node.Name,
		"ovn-remote=" + c.SB,
		"ovn-remote-probe-interval=" + probe,
		"ovn-openflow-probe-interval=60",
		"ovn-encap-type=geneve",
		"ovn-encap-ip=" + c.Node.Addr.Addr().String(),
		"ovn-bridge-datapath-type=netdev",
		"ovn-bridge-mappings=" + Physnet + ":" + External,
	}
	if c.Gateway {
		ids = append(ids, "ovn-cms-options=enable-chassis-as-gw")
	}
	set := []string{"set", "open_vswitch", "."}
	for _, id := range ids {
		key, value, _ := strings.Cut(id, "=")
		set = append(set, fmt.Sprintf("external_ids:%s=%q", key, value))
	}
	mac := fmt.Sprintf("other_config:hwaddr=%q", c.Node.MAC())
	argv := []string{"ovs-vsctl", "--timeout=20", "--no-wait", "--db=" + c.socket(), "init", "--"}
	for _, part := range [][]string{
		set,
		{"--", "--may-exist", "add-br", host.Uplink, "--", "set", "bridge", host.Uplink, "datapath_type=netdev", mac},
		{"--", "--may-exist", "add-port", host.Uplink, host.Nic},
		{"--", "--may-exist", "add-br", External, "--", "set", "bridge", External, "datapath_type=netdev"},
	} {
		argv = append(argv, part...)
	}
	_, err := host.Run(ctx, argv...)
	return err
}

func (c Chassis) address() supervise.Component {
	argv := []string{
		c.Self, "keep-address", "--link", host.Uplink,
		"--address", c.Node.Addr.String(), "--gateway", c.Node.Site.Gateway().Addr().String(),
	}
	for _, p := range c.Peers {
		argv = append(argv, "--neighbour", p.Addr.Addr().String()+"="+p.MAC())
	}
	return supervise.Component{
		Name:  Address(c.Node),
		Needs: []string{c.name("ovs-vswitchd")},
		Argv:  c.Node.Enter(argv...),
		Ready: answers(c.Node.Enter("busybox", "ping", "-c", "1", "-W", "1", c.Node.Site.Gateway().Addr().String())...),
	}
}

// Neighbours tells the switch that it runs beside where the other ends of its
// tunnels are ("address" to "MAC"). A userspace datapath drops the first packet
// to one that it must ask for; a kernel keeps it.
func Neighbours(ctx context.Context, bridge string, neighbours map[string]string) error {
	_, err := host.Run(ctx, "ovs-appctl", "--timeout=5", "tnl/neigh/aging", "3600")
	errs := []error{err}
	for address, mac := range neighbours {
		_, err := host.Run(ctx, "ovs-appctl", "--timeout=5", "tnl/neigh/set", bridge, address, mac)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// registered tells whether ovn-controller has made its chassis known.
func (c Chassis) registered(ctx context.Context) error {
	_, err := host.Run(ctx, "ovn-sbctl", "--no-leader-only", "--timeout=5", "--db="+c.SB, "get", "chassis", c.Node.Name, "name")
	return err
}

// Forget takes a chassis out of the southbound database: a node that went
// without saying so leaves it there.
func Forget(ctx context.Context, sb, name string) error {
	_, err := host.Run(ctx, "ovn-sbctl", "--no-leader-only", "--timeout=20", "--db="+sb, "--if-exists", "chassis-del", name)
	return err
}
