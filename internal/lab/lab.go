package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/ovn"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Lab starts, stops and inspects one lab.
type Lab struct {
	layout
	Out io.Writer
	sup *supervise.Supervisor
}

// New returns the lab with options o. It does not change the machine.
func New(o Options, out io.Writer) *Lab {
	l := &Lab{
		layout: layout{o, o.site().Nodes(o.Nodes)},
		Out:    out,
	}
	l.sup = &supervise.Supervisor{Dir: filepath.Join(o.Dir, "pid"), LogDir: l.logDir()}
	if o.Profile == Nested {
		l.sup.Timeout = nestedTimeout
	}
	return l
}

// Machines returns the lab's virtual machines.
func (l *Lab) Machines() Machines { return Machines{l.layout, l.Out, l.sup, l.Start} }

func (l *Lab) deployment() deployment { return deployment{l.layout} }

// Components returns all components of the lab in the order of their start.
func (l *Lab) Components() ([]supervise.Component, error) {
	all := l.central().Components()
	for _, n := range l.nodes {
		peers := slices.DeleteFunc(slices.Clone(l.nodes), func(p host.Node) bool { return p.Name == n.Name })
		all = append(all, l.chassis(n, peers).Components()...)
	}
	if l.hasOutside() {
		all = append(all, l.outsideWorld().Components()...)
	}
	all = append(all, l.cluster().Components()...)
	all = append(all, l.deployment().images()...)
	if l.OpenStack {
		parts, err := l.Machines().openstack()
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	if l.Profile == Nested {
		all = append(all, l.Machines().join()...)
	}
	if l.Isthmus {
		all = append(all, l.deployment().isthmus()...)
	}
	if l.Isthmus && l.neutronPods() {
		all = append(all, l.deployment().dns()...)
	}
	return supervise.Order(all)
}

// Up brings the lab into the state that its options describe, whatever its
// present state is.
func (l *Lab) Up(ctx context.Context) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("the lab makes namespaces: run it as root")
	}
	begin := time.Now()
	if err := l.replace(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return err
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	components, err := l.Components()
	if err != nil {
		return err
	}
	gone, err := l.removeObsolete(ctx, components)
	if err != nil {
		return err
	}
	progress := newProgress(l.Out, len(components))
	l.sup.Report = progress.event
	err = l.sup.Up(ctx, components)
	progress.end()
	if err := errors.Join(err, l.deleteNodes(ctx, gone)); err != nil {
		return err
	}
	return l.summary(time.Since(begin))
}

// replace removes the lab in Dir if it cannot become this one, for example
// because its profile or underlay is another.
func (l *Lab) replace(ctx context.Context) error {
	have, err := Load(l.Dir)
	if err != nil {
		return nil //nolint:nilerr // Up writes options that cannot be read again
	}
	if l.canBecome(have) {
		return nil
	}
	fmt.Fprintf(l.Out, "the lab has profile %s on %s and is made anew\n", have.Profile, have.Underlay)
	return New(have, l.Out).Down(ctx)
}

// removeObsolete saves the options, stops the processes and removes the nodes that a lab
// with other options left running. It returns the removed nodes.
func (l *Lab) removeObsolete(ctx context.Context, components []supervise.Component) ([]host.Node, error) {
	if err := errors.Join(l.save(), l.linkPrograms()); err != nil {
		return nil, err
	}
	recorded, err := l.sup.Recorded()
	if err != nil {
		return nil, err
	}
	for _, name := range recorded {
		known := slices.ContainsFunc(components, func(c supervise.Component) bool { return c.Name == name })
		if known || l.isVM(name) {
			continue
		}
		if err := l.sup.Stop(ctx, name); err != nil {
			return nil, err
		}
	}
	var gone []host.Node
	for _, n := range host.Found(l.Dir) {
		if _, err := l.host(n.Name); err == nil {
			continue
		}
		if err := n.Remove(ctx); err != nil {
			return nil, err
		}
		gone = append(gone, n)
	}
	return gone, nil
}

// deleteNodes deletes removed nodes from Kubernetes and their chassis from OVN.
func (l *Lab) deleteNodes(ctx context.Context, gone []host.Node) error {
	var errs []error
	for _, n := range gone {
		errs = append(errs,
			l.kubectl(ctx, "delete", "node", n.Name, "--ignore-not-found"),
			ovn.DeleteChassis(ctx, l.central().SB(), n.Name))
	}
	return errors.Join(errs...)
}

// Down stops everything of the lab in Dir and removes it from the machine. It errs
// if something is left over.
func (l *Lab) Down(ctx context.Context) error {
	begin := time.Now()
	if _, err := os.Stat(l.Dir); err != nil {
		// links and cgroups may exist even without a directory
		return host.Remove(ctx, l.Dir)
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	err = errors.Join(
		l.sup.Down(ctx, 2*time.Second),
		host.Remove(ctx, l.Dir),
	)
	if left := l.Leftovers(); err == nil && len(left) > 0 {
		err = fmt.Errorf("left over: %s", strings.Join(left, ", "))
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		return err
	}
	fmt.Fprintf(l.Out, "the lab is gone (%.1f s)\n", time.Since(begin).Seconds())
	return nil
}

// Leftovers returns what the lab has on the machine outside its directory:
// processes, links, mounts (and with them namespaces) and cgroups.
func (l *Lab) Leftovers() []string {
	links, _ := l.site().Links()
	mounts, _ := host.Mounts(l.Dir)
	var left []string
	for _, p := range l.sup.Processes() {
		left = append(left, fmt.Sprintf("process %d", p.Pid))
	}
	for _, n := range host.Found(l.Dir) {
		for _, p := range n.Processes() {
			left = append(left, fmt.Sprintf("process %d on %s", p.Pid, n.Name))
		}
	}
	return slices.Concat(left, links, mounts, l.site().Cgroups())
}

// lock takes the lab's lock, so that one process at a time changes it. The kernel
// releases the lock when the process ends. lock errs if another process holds it.
func (l *Lab) lock() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(l.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("another isthmus-lab is at work in %s", l.Dir)
	}
	return func() { file.Close() }, nil
}

// linkPrograms puts kubectl, its plugin and isthmus-lab into the directory for PATH.
func (l *Lab) linkPrograms() error {
	if err := os.MkdirAll(l.programs(), 0o755); err != nil {
		return err
	}
	links := map[string]string{"kubectl": filepath.Join(l.KubeBin, "kubectl")}
	if plugin := filepath.Join(l.Repo, "bin", "kubectl-ko"); l.Repo != "" {
		links["kubectl-ko"] = plugin
	}
	for name, target := range links {
		link := filepath.Join(l.programs(), name)
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return copySelf(l.self())
}

func copySelf(to string) error {
	from, err := os.Executable()
	if err != nil || from == to {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	// a running program cannot be written to, only replaced
	if err := os.WriteFile(to+".new", text, 0o755); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// KeepAddress is the hidden command that runs on every node. It keeps the node's
// address on the link and gives the switch the MAC addresses of the neighbours.
func KeepAddress(ctx context.Context, a host.Address, neighbours map[string]string, log *slog.Logger) error {
	a.Appeared = func(ctx context.Context) error { return ovn.Neighbours(ctx, a.Link, neighbours) }
	return host.KeepAddress(ctx, a, log)
}
