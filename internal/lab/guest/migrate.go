package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Host is the target of a migration: a node, with the address at which other nodes reach it.
type Host struct {
	Name string
	Addr netip.Addr
}

// migrationPort is the TCP port on which a QEMU waits for a guest from another node.
const migrationPort = 49152

// migration has the steps of Migrate.
type migration struct{ Config }

// Migrate migrates a guest live to another node, as Nova does. A second QEMU takes over
// from the first, and Neutron moves the port's binding. Then Migrate removes the guest's
// tap and binding on the first node. If the guest cannot be sent, Migrate errs and the
// guest stays on its node.
func (c Config) Migrate(ctx context.Context, name string, to Host) (Guest, error) {
	g, err := c.read(name)
	if err == nil {
		err = migration{c}.migrate(ctx, &g, to)
	}
	if err != nil {
		return g, fmt.Errorf("migrate guest %s to %s: %w", name, to.Name, err)
	}
	return g, nil
}

func (c migration) migrate(ctx context.Context, g *Guest, to Host) error {
	if g.Node == to.Name {
		return errors.New("it is there already")
	}
	if _, running := c.Supervisor.Running(ComponentName(g.Name)); !running {
		return errors.New("it does not run")
	}
	n, err := openstack.Dial(ctx, c.CloudsFile, "admin")
	if err != nil {
		return err
	}
	m, err := c.runningMachine(ctx, n, *g)
	if err != nil {
		return err
	}
	enter := func(argv ...string) []string { return c.Enter(to.Name, argv...) }
	if err = c.prepareTarget(ctx, n, *g, to.Name); err == nil {
		err = c.send(ctx, m, c.receiver(m, to, enter), to.Addr)
	}
	if err != nil {
		return errors.Join(err, c.rollBack(context.WithoutCancel(ctx), n, *g, to.Name))
	}
	from := g.Node
	g.Node = to.Name
	// the network first: the guest already runs there without one
	return errors.Join(activate(ctx, n, g.Port, to.Name), c.plug(ctx, to.Name, g.TAP, g.Port),
		c.takeOver(ctx, m, c.receiver(m, to, enter), enter), c.record(*g), c.unplug(ctx, from, g.TAP), unbind(ctx, n, g.Port, from))
}

// runningMachine returns the machine with which the running guest was started.
func (c migration) runningMachine(ctx context.Context, n openstack.Network, g Guest) (machine, error) {
	have, err := findPorts(ctx, n, g.Name)
	if err == nil && len(have) == 0 {
		err = fmt.Errorf("it has no port any more, %s is gone", g.Port)
	}
	if err != nil {
		return machine{}, err
	}
	dev, err := describe(ctx, n, have[0])
	if err != nil {
		return machine{}, err
	}
	k, err := fetchKernel(ctx, c.CacheDir)
	if err != nil {
		return machine{}, err
	}
	m := machine{name: g.Name, dir: c.vmDir(g.Name), memory: cmp.Or(g.Memory, 128), image: k.image, nic: dev}
	if _, err := os.Stat(diskOf(m.dir)); err == nil {
		m.disk = diskOf(m.dir)
	}
	return m, nil
}

// prepareTarget creates the binding and the tap on the target node. It does not add the tap to
// the switch: if two chassis have the same port, each claims its subports from the other, again
// and again (OVN 23.03).
func (c migration) prepareTarget(ctx context.Context, n openstack.Network, g Guest, node string) error {
	if err := awaitAgent(ctx, n, node); err != nil {
		return err
	}
	if err := addBinding(ctx, n, g.Port, node); err != nil {
		return err
	}
	return c.makeTAP(ctx, node, g.TAP)
}

// rollBack undoes prepareTarget and send.
func (c migration) rollBack(ctx context.Context, n openstack.Network, g Guest, node string) error {
	return errors.Join(c.killReceivers(ctx, g.Name), c.unplug(ctx, node, g.TAP), withdrawMigration(ctx, n, g.Port), unbind(ctx, n, g.Port, node))
}

// receiverPrefix returns the prefix of the names of the components that wait for a guest.
func receiverPrefix(name string) string { return ComponentName(name) + "@" }

// receiver returns the component of the QEMU that waits for a guest on another node.
func (c migration) receiver(m machine, at Host, enter func(argv ...string) []string) supervise.Component {
	m = m.receiving(at.Addr)
	return supervise.Component{
		Name:    receiverPrefix(m.name) + at.Name,
		Argv:    enter(m.argv()...),
		Prepare: func(context.Context) error { return os.MkdirAll(m.sockets(), 0o755) },
		Ready: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
			defer cancel()
			q, err := dialMonitor(ctx, m.monitor())
			if err == nil {
				q.close()
			}
			return err
		},
	}
}

// send starts the waiting QEMU, sends the guest to it and returns when the guest runs there.
func (c migration) send(ctx context.Context, m machine, arrival supervise.Component, to netip.Addr) error {
	here, err := dialMonitor(ctx, m.monitor())
	if err != nil {
		return err
	}
	defer here.close()
	if err := c.Supervisor.Ensure(ctx, arrival); err != nil {
		return err
	}
	there, err := dialMonitor(ctx, m.receiving(to).monitor())
	if err != nil {
		return err
	}
	defer there.close()
	if err := there.enableEvents(ctx); err != nil {
		return err
	}
	if err := here.migrate(ctx, netip.AddrPortFrom(to, migrationPort)); err != nil {
		return err
	}
	return there.continueGuest(ctx)
}

// receiving returns the machine that waits for the guest at an address.
func (m machine) receiving(at netip.Addr) machine {
	m.incoming = "tcp:" + netip.AddrPortFrom(at, migrationPort).String()
	return m
}

// takeOver kills the QEMU that has sent the guest and records the other as the guest's.
func (c migration) takeOver(ctx context.Context, m machine, arrival supervise.Component, enter func(argv ...string) []string) error {
	if err := c.Supervisor.Kill(ctx, ComponentName(m.name)); err != nil {
		return err
	}
	if err := c.Supervisor.Adopt(c.component(m, enter), arrival.Name); err != nil {
		return err
	}
	sockets, err := filepath.Glob(filepath.Join(m.receiving(netip.Addr{}).sockets(), "*"))
	errs := []error{err}
	for _, s := range sockets {
		errs = append(errs, os.Rename(s, filepath.Join(m.sockets(), filepath.Base(s))))
	}
	return errors.Join(errs...)
}

// killReceivers kills every QEMU that waits for the guest, including those of killed runs.
func (c migration) killReceivers(ctx context.Context, name string) error {
	all, err := c.Supervisor.Recorded()
	errs := []error{err}
	for _, component := range all {
		if strings.HasPrefix(component, receiverPrefix(name)) {
			errs = append(errs, c.Supervisor.Kill(ctx, component))
		}
	}
	return errors.Join(errs...)
}
