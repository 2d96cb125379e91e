package ovn

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// The provider network's bridge and name, as in ovn-bridge-mappings.
const (
	External = "br-ex"
	Physnet  = "physnet1"
)

// Chassis is the OVN part of a node.
type Chassis struct {
	Node  host.Node
	SB    string      // address of the southbound database
	Self  string      // the program that has the hidden command "keep-address"
	Peers []host.Node // the other nodes
	// Gateway is true if OVN may schedule gateway ports of routers on the chassis.
	Gateway bool
}

// Controller returns the name of the component that runs ovn-controller.
func (c Chassis) Controller() string { return c.name("ovn-controller") }

// Host returns the name of the step that creates the node's namespaces.
func Host(n host.Node) string { return n.Name + "/host" }

// Address returns the name of the component that keeps the node's address.
func Address(n host.Node) string { return n.Name + "/address" }

func (c Chassis) name(part string) string { return c.Node.Name + "/" + part }

func (c Chassis) socket() string { return "unix:" + c.Node.Private("/run/openvswitch/db.sock") }

// Components returns the components of the node's namespaces, its switch and its
// ovn-controller.
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
		Ready: succeeds("ovsdb-client", "--timeout=5", "list-dbs", c.socket()),
	}
}

// vswitchd runs ovs-vswitchd under its own monitor, which restarts it after a crash.
func (c Chassis) vswitchd() supervise.Component {
	return supervise.Component{
		Name:  c.name("ovs-vswitchd"),
		Needs: []string{c.name("ovs-settings")},
		Argv: c.Node.Enter("ovs-vswitchd", "--monitor", "--pidfile=/run/openvswitch/ovs-vswitchd.pid",
			"-vconsole:info", "-vsyslog:off", "unix:/run/openvswitch/db.sock"),
		Ready: succeeds("ovs-vsctl", "--timeout=5", "--db="+c.socket(), "wait-until", "interface", host.Uplink, "ofport>0"),
	}
}

// configure writes the chassis' settings and bridges into the switch's database. The
// switch need not run: it applies them when it starts.
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
		Ready: succeeds(c.Node.Enter("busybox", "ping", "-c", "1", "-W", "1", c.Node.Site.Gateway().Addr().String())...),
	}
}

// Neighbours writes the MAC addresses of the tunnels' other ends, by IP address, into the
// ARP cache of the node's switch. While it resolves an address, a userspace datapath
// drops packets; a kernel would queue them.
func Neighbours(ctx context.Context, bridge string, neighbours map[string]string) error {
	_, err := host.Run(ctx, "ovs-appctl", "--timeout=5", "tnl/neigh/aging", "3600")
	errs := []error{err}
	for address, mac := range neighbours {
		_, err := host.Run(ctx, "ovs-appctl", "--timeout=5", "tnl/neigh/set", bridge, address, mac)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// registered returns nil if the southbound database has the chassis.
func (c Chassis) registered(ctx context.Context) error {
	_, err := host.Run(ctx, "ovn-sbctl", "--no-leader-only", "--timeout=5", "--db="+c.SB, "get", "chassis", c.Node.Name, "name")
	return err
}

// DeleteChassis deletes a chassis from the southbound database. A node that disappears does not
// delete its own.
func DeleteChassis(ctx context.Context, sb, name string) error {
	_, err := host.Run(ctx, "ovn-sbctl", "--no-leader-only", "--timeout=20", "--db="+sb, "--if-exists", "chassis-del", name)
	return err
}
