//go:build e2e

package e2e

import (
	"context"
	"net/netip"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/reach"
)

// machines is a Neutron network on the pods' router, with machines that are not pods. Each is a
// Neutron port that is bound to a node, with a network namespace instead of a guest. A machine is
// created or deleted within a second.
type machines struct {
	*lab
	// admin binds the ports, which belong to the project of tenant.
	admin, tenant openstack.Network
	network       string
	router        string
	groups        map[string]string // ids by name
}

// machinesPrefix is the network of the cases' machines.
var machinesPrefix = netip.MustParsePrefix("198.51.100.0/24")

const (
	machinesName = "abroad"
	// machinesHost is the node on which the machines are.
	machinesHost = "node1"
)

// outsideMachines creates the network and its machines, and deletes them when the test ends.
func (l *lab) outsideMachines(t *testing.T, outside []*reach.Outside) {
	t.Helper()
	file := l.variable("OS_CLIENT_CONFIG_FILE")
	a := &machines{lab: l, groups: map[string]string{}}
	var err error
	if a.admin, err = openstack.Dial(t.Context(), file, "admin"); err != nil {
		t.Fatal(err)
	}
	if a.tenant, err = openstack.Dial(t.Context(), file, openstack.Tenant); err != nil {
		t.Fatal(err)
	}
	a.makeNetwork(t)
	a.allowIngress(t, machinesName)
	for _, m := range outside {
		a.create(t, m)
	}
}

// must returns a function that returns its first argument, or ends the test with the error.
func must[T any](t *testing.T, what string) func(T, error) T {
	return func(made T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return made
	}
}

// onCleanup calls take to delete something when the test ends. It accepts the HTTP status 404.
func onCleanup(t *testing.T, what string, take func(context.Context) error) {
	t.Cleanup(func() {
		err := take(context.WithoutCancel(t.Context()))
		if err != nil && !gophercloud.ResponseCodeIs(err, 404) {
			t.Errorf("take %s away: %v", what, err)
		}
	})
}

func (a *machines) makeNetwork(t *testing.T) {
	t.Helper()
	ctx, c := t.Context(), a.tenant.ServiceClient
	a.router = a.run(t, "openstack", "router", "show", openstack.Router, "-f", "value", "-c", "id")
	a.network = must[*networks.Network](t, "network")(networks.Create(ctx, c, networks.CreateOpts{Name: machinesName}).Extract()).ID
	onCleanup(t, "network", func(ctx context.Context) error { return networks.Delete(ctx, c, a.network).ExtractErr() })
	gateway := machinesPrefix.Addr().As4()
	gateway[3] = 254
	text := netip.AddrFrom4(gateway).String()
	subnet := must[*subnets.Subnet](t, "subnet")(subnets.Create(ctx, c, subnets.CreateOpts{
		NetworkID: a.network, Name: machinesName, CIDR: machinesPrefix.String(), IPVersion: 4, GatewayIP: &text,
	}).Extract()).ID
	must[*routers.InterfaceInfo](t, "router interface")(routers.AddInterface(ctx, c, a.router, routers.AddInterfaceOpts{SubnetID: subnet}).Extract())
	onCleanup(t, "router interface", func(ctx context.Context) error {
		return routers.RemoveInterface(ctx, c, a.router, routers.RemoveInterfaceOpts{SubnetID: subnet}).Err
	})
}

// ensureGroup returns the id of a security group that allows no ingress. It creates the group if
// needed.
func (a *machines) ensureGroup(t *testing.T, name string) string {
	t.Helper()
	if id, made := a.groups[name]; made {
		return id
	}
	ctx, c := t.Context(), a.tenant.ServiceClient
	id := must[*groups.SecGroup](t, "security group")(groups.Create(ctx, c, groups.CreateOpts{Name: name}).Extract()).ID
	onCleanup(t, "security group "+name, func(ctx context.Context) error { return groups.Delete(ctx, c, id).ExtractErr() })
	a.groups[name] = id
	return id
}

// allowIngress allows all ingress to a group, because the cases test the pods' groups only.
func (a *machines) allowIngress(t *testing.T, group string) {
	t.Helper()
	must[*rules.SecGroupRule](t, "rule")(rules.Create(t.Context(), a.tenant.ServiceClient, rules.CreateOpts{
		SecGroupID: a.ensureGroup(t, group), Direction: rules.DirIngress, EtherType: rules.EtherType4,
	}).Extract())
}

// create creates a port and its network namespace.
func (a *machines) create(t *testing.T, m *reach.Outside) {
	t.Helper()
	ids := []string{a.ensureGroup(t, machinesName)}
	for _, name := range m.SecurityGroups {
		ids = append(ids, a.ensureGroup(t, name))
	}
	p := must[*ports.Port](t, "port of "+m.Name)(ports.Create(t.Context(), a.admin.ServiceClient, portsbinding.CreateOptsExt{
		HostID: machinesHost,
		CreateOptsBuilder: ports.CreateOpts{
			NetworkID: a.network, Name: m.Name, TenantID: a.tenant.Project, SecurityGroups: &ids, DeviceOwner: "compute:nova",
			FixedIPs: []ports.IP{{IPAddress: m.Addr.String()}},
		},
	}).Extract())
	onCleanup(t, "port of "+m.Name, func(ctx context.Context) error { return ports.Delete(ctx, a.admin.ServiceClient, p.ID).ExtractErr() })
	on := func(argv ...string) string {
		return a.run(t, append([]string{"isthmus-lab", "exec", machinesHost, "--"}, argv...)...)
	}
	t.Cleanup(func() {
		on("ovs-vsctl", "--if-exists", "del-port", "br-int", m.Name)
		on("ip", "netns", "delete", m.Name)
	})
	on("ip", "netns", "add", m.Name)
	on("ip", "link", "add", m.Name, "type", "veth", "peer", "name", "eth0", "address", p.MACAddress, "netns", m.Name)
	on("ethtool", "-K", m.Name, "tx", "off") // the userspace datapath does not complete checksums
	on("ip", "link", "set", m.Name, "up")
	on("ovs-vsctl", "add-port", "br-int", m.Name, "--", "set", "Interface", m.Name, "external_ids:iface-id="+p.ID)
	inside := func(argv ...string) string { return on(append([]string{"ip", "netns", "exec", m.Name}, argv...)...) }
	inside("ethtool", "-K", "eth0", "tx", "off")
	inside("ip", "addr", "add", netip.PrefixFrom(m.Addr, machinesPrefix.Bits()).String(), "dev", "eth0")
	inside("ip", "link", "set", "eth0", "mtu", "1400", "up")
	gateway := machinesPrefix.Addr().As4()
	gateway[3] = 254
	inside("ip", "route", "add", "default", "via", netip.AddrFrom4(gateway).String())
}
