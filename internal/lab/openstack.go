package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/guest"
	"github.com/isthmus-cni/isthmus/internal/lab/kube"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/lab/ovn"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// The first virtual machine is the one that the documents speak of.
const firstVM = "provider-instance"

// firstVMAddress is its address in the documents.
func firstVMAddress() netip.Addr { return netip.MustParseAddr("192.168.1.61") }

func (l *Lab) cloud() openstack.Config {
	c := openstack.Config{
		Dir:      filepath.Join(l.Dir, "openstack"),
		LogDir:   l.sup.LogDir,
		Bind:     l.site().Gateway().Addr().String(),
		NB:       l.central().NB(),
		SB:       l.central().SB(),
		Octavia:  l.Octavia,
		CacheDir: l.CacheDir,
		Needs:    []string{"ovn-nb/settings", "ovn-sb/settings"},
	}
	if l.outside() {
		c.External = public()
		c.Admitted = l.admitted()
		c.Chassis = []string{l.world().Gateway.Controller()}
	}
	return c
}

// public is the network of floating IPs.
func public() netip.Prefix { return netip.MustParsePrefix("172.24.4.0/24") }

// world is what lies beyond it.
func (l *Lab) world() ovn.Outside {
	o := ovn.Outside{Gateway: l.chassis(l.nodes[0], nil), Host: l.site().Outside(), Network: public(), Reached: netip.MustParsePrefix(kube.ServiceCIDR)}
	if l.Profile == Nested {
		o.Reached = public() // where the nodes' floating IPs are
	}
	return o
}

func (l *Lab) openstack() ([]supervise.Component, error) {
	parts := openstack.Components(l.cloud())
	for i := range parts {
		if len(parts[i].Needs) == 0 {
			parts[i].Needs = []string{ovn.Network} // what comes after them listens there
		}
	}
	specs, err := l.vms()
	if err != nil {
		return nil, err
	}
	for _, spec := range specs {
		parts = append(parts, supervise.Component{
			Name:  guest.ComponentName(spec.Name),
			Needs: append([]string{openstack.ResourcesName, spec.Node + "/ovn-controller"}, l.workerNeeds(spec)...),
			Do: func(ctx context.Context) error {
				_, err := l.guests().Create(ctx, spec)
				return err
			},
		})
	}
	return parts, nil
}

// vms are those that Up makes by itself and those that somebody made, each where
// it is by now.
func (l *Lab) vms() ([]guest.Spec, error) {
	specs := l.workers()
	for i := range l.VMs {
		spec := guest.Spec{
			Name: fmt.Sprintf("vm%d", i+1), Network: l.cloud().Network(), Node: l.nodes[i%len(l.nodes)].Name,
		}
		if i == 0 && l.Profile == SharedOVN {
			spec.Name, spec.FixedIP = firstVM, firstVMAddress()
		}
		specs = append(specs, spec)
	}
	made, err := l.guests().List()
	for _, g := range made {
		if _, err := l.node(g.Node); err != nil {
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

func (l *Lab) guests() guest.Config {
	return guest.Config{
		Dir:        filepath.Join(l.Dir, "vm"),
		CacheDir:   l.CacheDir,
		CloudsFile: l.cloud().CloudsFile(),
		// a machine is part of a step, which reports for it
		Supervisor: &supervise.Supervisor{Dir: l.sup.Dir, LogDir: l.sup.LogDir, Patience: l.sup.Patience},
		Enter: func(node string, argv ...string) []string {
			n, err := l.node(node)
			if err != nil {
				return []string{"false", err.Error()}
			}
			return n.Enter(argv...)
		},
	}
}

// CreateVM makes a virtual machine on a Neutron network, the profile's own if
// it names none, and returns when it has its address.
func (l *Lab) CreateVM(ctx context.Context, s guest.Spec) error {
	if err := l.needOpenStack(); err != nil {
		return err
	}
	if _, err := l.node(s.Node); err != nil {
		return err
	}
	if s.Network == "" {
		s.Network = l.cloud().Network()
	}
	g, err := l.guests().Create(ctx, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "%s has %s on %s, port %s\n", g.Name, g.Address, g.Node, g.Port)
	return nil
}

// DeleteVM takes a virtual machine away, with its port.
func (l *Lab) DeleteVM(ctx context.Context, name string) error {
	if err := l.needOpenStack(); err != nil {
		return err
	}
	if err := l.guests().Delete(ctx, name); err != nil || !l.isWorker(name) {
		return err
	}
	// so does a cloud's controller
	return l.kubectl(ctx, "delete", "node", name, "--ignore-not-found")
}

// PowerOff ends a virtual machine, which keeps its port and its disk, until
// StartVM or Up.
func (l *Lab) PowerOff(ctx context.Context, name string) error {
	return l.guests().PowerOff(ctx, name)
}

// StartVM starts a virtual machine that was powered off, and returns when it has its address.
func (l *Lab) StartVM(ctx context.Context, name string) error {
	return l.Start(ctx, guest.ComponentName(name))
}

// Reboot is PowerOff and StartVM, which is what Nova's soft reboot is.
func (l *Lab) Reboot(ctx context.Context, name string) error {
	if err := l.PowerOff(ctx, name); err != nil {
		return err
	}
	return l.StartVM(ctx, name)
}

// MigrateVM moves a virtual machine to another node while it runs.
func (l *Lab) MigrateVM(ctx context.Context, name, node string) error {
	if err := l.needOpenStack(); err != nil {
		return err
	}
	n, err := l.node(node)
	if err != nil {
		return err
	}
	begin := time.Now()
	g, err := l.guests().Migrate(ctx, name, guest.Host{Name: n.Name, Addr: n.Addr.Addr()})
	if err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "%s runs on %s now (%.1f s)\n", g.Name, g.Node, time.Since(begin).Seconds())
	return nil
}

// ListVMs prints the virtual machines.
func (l *Lab) ListVMs() error {
	all, err := l.guests().List()
	for _, g := range all {
		state := "dead"
		if g.Running {
			state = "running"
		}
		fmt.Fprintf(l.Out, "%-24s %-8s %-8s %-20s %s\n", g.Name, state, g.Node, g.Address, g.Network)
	}
	return err
}

func (l *Lab) needOpenStack() error {
	if !l.OpenStack {
		return errors.New("this lab has no OpenStack: isthmus-lab up --openstack")
	}
	return nil
}
