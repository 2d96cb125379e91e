package lab

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/guest"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/lab/ovn"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// firstVM is the virtual machine of the walkthroughs.
const firstVM = "provider-instance"

// firstVMAddress is its address in the walkthroughs.
func firstVMAddress() netip.Addr { return netip.MustParseAddr("192.168.1.61") }

// public is the network of floating IPs.
func public() netip.Prefix { return netip.MustParsePrefix("172.24.4.0/24") }

// Machines are the virtual machines of a lab.
type Machines struct {
	layout
	out   io.Writer
	sup   *supervise.Supervisor
	start func(ctx context.Context, component string) error
}

// openstack returns the components of OpenStack and the virtual machines.
func (m Machines) openstack() ([]supervise.Component, error) {
	parts := openstack.Components(m.cloud())
	for i := range parts {
		if len(parts[i].Needs) == 0 {
			parts[i].Needs = []string{ovn.Network} // the components after them listen on its addresses
		}
	}
	specs, err := m.vms()
	if err != nil {
		return nil, err
	}
	for _, spec := range specs {
		parts = append(parts, supervise.Component{
			Name:  guest.ComponentName(spec.Name),
			Needs: append([]string{openstack.ResourcesName, spec.Node + "/ovn-controller"}, m.workerNeeds(spec)...),
			Do: func(ctx context.Context) error {
				_, err := m.guests().Create(ctx, spec)
				return err
			},
		})
	}
	return parts, nil
}

// vms returns the virtual machines that Up creates and those that the user created,
// each with the node on which it is now.
func (m Machines) vms() ([]guest.Spec, error) {
	specs := m.workers()
	for i := range m.VMs {
		spec := guest.Spec{
			Name: fmt.Sprintf("vm%d", i+1), Network: m.cloud().Network(), Node: m.nodes[i%len(m.nodes)].Name,
		}
		if i == 0 && m.Profile == SharedOVN {
			spec.Name, spec.FixedIP = firstVM, firstVMAddress()
		}
		specs = append(specs, spec)
	}
	made, err := m.guests().List()
	for _, g := range made {
		if _, err := m.node(g.Node); err != nil {
			continue
		}
		if i := slices.IndexFunc(specs, func(s guest.Spec) bool { return s.Name == g.Name }); i >= 0 {
			specs[i].Node = g.Node
		} else {
			specs = append(specs, g.Spec)
		}
	}
	return specs, err
}

func (m Machines) guests() guest.Config {
	return guest.Config{
		Dir:        filepath.Join(m.Dir, "vm"),
		CacheDir:   m.CacheDir,
		CloudsFile: m.cloud().CloudsFile(),
		// without Report: the step that creates the machine reports
		Supervisor: &supervise.Supervisor{Dir: m.sup.Dir, LogDir: m.sup.LogDir, Timeout: m.sup.Timeout},
		Enter: func(node string, argv ...string) []string {
			n, err := m.node(node)
			if err != nil {
				return []string{"false", err.Error()}
			}
			return n.Enter(argv...)
		},
	}
}

// Create creates a virtual machine on a Neutron network and returns when the machine
// has its address. Without a network in s, it uses the profile's own.
func (m Machines) Create(ctx context.Context, s guest.Spec) error {
	if err := m.needOpenStack(); err != nil {
		return err
	}
	if _, err := m.node(s.Node); err != nil {
		return err
	}
	if s.Network == "" {
		s.Network = m.cloud().Network()
	}
	g, err := m.guests().Create(ctx, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "%s has %s on %s, port %s\n", g.Name, g.Address, g.Node, g.Port)
	return nil
}

// Delete deletes a virtual machine and its port. If the machine is a node, Delete
// also deletes the Node.
func (m Machines) Delete(ctx context.Context, name string) error {
	if err := m.needOpenStack(); err != nil {
		return err
	}
	if err := m.guests().Delete(ctx, name); err != nil || !slices.Contains(m.workerNames(), name) {
		return err
	}
	// elsewhere a cloud controller does this
	return m.kubectl(ctx, "delete", "node", name, "--ignore-not-found")
}

// PowerOff stops a virtual machine until Start or Up. The machine keeps its port and
// its disk.
func (m Machines) PowerOff(ctx context.Context, name string) error {
	return m.guests().PowerOff(ctx, name)
}

// Start starts a virtual machine after PowerOff and returns when it has its address.
func (m Machines) Start(ctx context.Context, name string) error {
	return m.start(ctx, guest.ComponentName(name))
}

// Reboot powers a virtual machine off and on, as Nova's soft reboot does.
func (m Machines) Reboot(ctx context.Context, name string) error {
	if err := m.PowerOff(ctx, name); err != nil {
		return err
	}
	return m.Start(ctx, name)
}

// Migrate migrates a virtual machine live to another node.
func (m Machines) Migrate(ctx context.Context, name, node string) error {
	if err := m.needOpenStack(); err != nil {
		return err
	}
	n, err := m.node(node)
	if err != nil {
		return err
	}
	begin := time.Now()
	g, err := m.guests().Migrate(ctx, name, guest.Host{Name: n.Name, Addr: n.Addr.Addr()})
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "%s runs on %s now (%.1f s)\n", g.Name, g.Node, time.Since(begin).Seconds())
	return nil
}

// List prints the virtual machines.
func (m Machines) List() error {
	all, err := m.guests().List()
	for _, g := range all {
		state := "dead"
		if g.Running {
			state = "running"
		}
		fmt.Fprintf(m.out, "%-24s %-8s %-8s %-20s %s\n", g.Name, state, g.Node, g.Address, g.Network)
	}
	return err
}
