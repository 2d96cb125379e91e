// Package guest runs the lab's virtual machines: QEMU guests with Debian's cloud kernel, a
// busybox root file system and an agent that runs commands. A guest is plugged into a
// Neutron port as an instance of Nova is. The package knows Neutron and the node's OVS. It
// does not know OVN and Kubernetes.
package guest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Config has what all guests of a lab share.
type Config struct {
	// Dir has a directory for each guest.
	Dir string
	// CacheDir has the kernel. It outlives the lab.
	CacheDir string
	// CloudsFile is a clouds.yaml. Its cloud "admin" creates the ports.
	CloudsFile string
	// Supervisor runs the guests, as components named by ComponentName.
	Supervisor *supervise.Supervisor
	// Enter returns the command that runs argv on a node, in its namespaces. It is
	// used for QEMU, ip and ovs-vsctl with its default database. The command must
	// exec argv, so that the started process is the one that runs.
	Enter func(node string, argv ...string) []string
}

// Spec is the desired state of a guest.
type Spec struct {
	Name string `json:"name"`
	// Network is the name of a Neutron network. Node is the host of the port's
	// binding and of QEMU.
	Network string `json:"network"`
	Node    string `json:"node"`
	// FixedIP is an address of the network. Neutron chooses one if it is the zero
	// Addr.
	FixedIP netip.Addr `json:"fixedIP"`
	// Memory is in MiB; 0 means 128.
	Memory int `json:"memory,omitempty"`
	// Modules are kernel modules to load besides those of the NIC, VLANs and the
	// agent.
	Modules []string `json:"modules,omitempty"`
	// Files are added to the root file system.
	Files []File `json:"files,omitempty"`
	// Cloud is the cloud of CloudsFile whose project owns the port; empty means
	// "admin".
	Cloud string `json:"cloud,omitempty"`
	// Trunk makes the port the parent port of a trunk with the guest's name.
	Trunk bool `json:"trunk,omitempty"`
	// Public is the network of the guest's floating IP; empty means no floating IP.
	Public string `json:"public,omitempty"`
	// Disk returns the path of an image. The guest's disk is a copy of it, to which
	// the guest's changes are written. With nil the guest has no disk.
	Disk func(context.Context) (string, error) `json:"-"`
	// Seed returns files that depend on the guest's addresses. It may be nil.
	Seed func(Guest) ([]File, error) `json:"-"`
	// Services are commands that the guest's init restarts when they end.
	Services []string `json:"services,omitempty"`
}

// Guest is the actual state of a guest.
type Guest struct {
	Spec
	Port    string       `json:"port"`
	Address netip.Prefix `json:"address"`
	MAC     string       `json:"mac"`
	MTU     int          `json:"mtu"`
	TAP     string       `json:"tap"`
	// FloatingIP is the address from outside; the zero Addr means none.
	FloatingIP netip.Addr `json:"floatingIP,omitzero"`
	Running    bool       `json:"-"`
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// Create creates a guest and returns when the guest has its address. If the guest exists,
// Create only adds what is missing and starts it if it does not run. It errs if the guest
// exists on another node or network.
func (c Config) Create(ctx context.Context, s Spec) (Guest, error) {
	if !nameForm.MatchString(s.Name) {
		return Guest{}, fmt.Errorf("guest %q: a name has up to 40 of a-z, 0-9 and inner dashes", s.Name)
	}
	g, err := c.create(ctx, s)
	if err != nil {
		return Guest{}, fmt.Errorf("guest %s: %w", s.Name, err)
	}
	return g, nil
}

func (c Config) create(ctx context.Context, s Spec) (Guest, error) {
	g := Guest{Spec: s}
	if err := c.reserve(g); err != nil {
		return g, err
	}
	n, err := openstack.Dial(ctx, c.CloudsFile, "admin")
	if err != nil {
		return g, err
	}
	owner, err := c.owner(ctx, s)
	if err != nil {
		return g, err
	}
	p, err := ensurePort(ctx, n, owner, s)
	if err != nil {
		return g, fmt.Errorf("port: %w", err)
	}
	dev, err := describe(ctx, n, p)
	if err != nil {
		return g, fmt.Errorf("port %s: %w", p.ID, err)
	}
	g.Port, g.Address, g.MAC, g.MTU, g.TAP = p.ID, dev.Address, dev.MAC, dev.MTU, dev.TAP
	if g.FloatingIP, err = ensureTrunkAndFloatingIP(ctx, owner, s, p.ID); err != nil {
		return g, err
	}
	if err := c.record(g); err != nil {
		return g, err
	}
	if err := c.plug(ctx, s.Node, dev.TAP, p.ID); err != nil {
		return g, fmt.Errorf("plug port %s: %w", p.ID, err)
	}
	if s.Seed != nil {
		seed, err := s.Seed(g)
		if err != nil {
			return g, err
		}
		s.Files = append(slices.Clone(s.Files), seed...)
	}
	m, err := c.build(ctx, s, dev)
	if err != nil {
		return g, err
	}
	if err := (migration{c}).killReceivers(ctx, s.Name); err != nil {
		return g, err
	}
	err = c.Supervisor.Ensure(ctx, c.component(m, func(argv ...string) []string { return c.Enter(s.Node, argv...) }))
	g.Running = err == nil
	return g, err
}

// reserve records a guest before anything of it is created, so that Delete can find what a
// killed run left. It errs if the guest is recorded on another node or network, because its
// tap there would remain.
func (c Config) reserve(g Guest) error {
	have, err := c.read(g.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return c.record(g)
	}
	if err == nil && (have.Node != g.Node || have.Network != g.Network) {
		return fmt.Errorf("it is on node %s and network %s already, delete it first", have.Node, have.Network)
	}
	return err
}

// build writes the guest's disk and root file system and returns the machine to start.
func (c Config) build(ctx context.Context, s Spec, dev nic) (machine, error) {
	k, err := fetchKernel(ctx, c.CacheDir)
	if err != nil {
		return machine{}, err
	}
	m := machine{name: s.Name, dir: c.vmDir(s.Name), memory: cmp.Or(s.Memory, 128), image: k.image, nic: dev}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return m, err
	}
	if m.disk, err = ensureDisk(ctx, m.dir, s.Disk); err != nil {
		return m, fmt.Errorf("disk: %w", err)
	}
	rootfs, err := initramfs(ctx, k, s)
	if err != nil {
		return m, fmt.Errorf("root file system: %w", err)
	}
	return m, writeChanged(m.initrd(), rootfs)
}

// plug creates the tap and adds it to br-int with the port's id as iface-id.
func (c Config) plug(ctx context.Context, node, tap, port string) error {
	if err := c.makeTAP(ctx, node, tap); err != nil {
		return err
	}
	_, err := output(ctx, c.Enter(node, "ovs-vsctl", "--timeout=20", "--may-exist", "add-port", "br-int", tap,
		"--", "set", "Interface", tap, "external_ids:iface-id="+port)...)
	return err
}

func (c Config) makeTAP(ctx context.Context, node, tap string) error {
	const add = `ip link show dev "$1" >/dev/null 2>&1 || ip tuntap add dev "$1" mode tap && ip link set "$1" up`
	_, err := output(ctx, c.Enter(node, "sh", "-c", add, "sh", tap)...)
	return err
}

// Delete deletes a guest and its port. It returns nil if there is no such guest.
func (c Config) Delete(ctx context.Context, name string) error {
	g, err := c.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = c.delete(ctx, g)
	}
	if err != nil {
		return fmt.Errorf("delete guest %s: %w", name, err)
	}
	return os.RemoveAll(c.vmDir(name))
}

func (c Config) delete(ctx context.Context, g Guest) error {
	if err := errors.Join(migration{c}.killReceivers(ctx, g.Name), c.Supervisor.Kill(ctx, ComponentName(g.Name))); err != nil {
		return err
	}
	n, err := openstack.Dial(ctx, c.CloudsFile, "admin")
	if err != nil {
		return err
	}
	have, err := findPorts(ctx, n, g.Name)
	if err != nil {
		return err
	}
	for _, p := range have {
		if err := deleteTrunkAndFloatingIPs(ctx, n, p.ID); err != nil {
			return err
		}
		if err := c.unplug(ctx, g.Node, tapName(p.ID)); err != nil {
			return fmt.Errorf("unplug port %s: %w", p.ID, err)
		}
		if err := ignoreNotFound(ports.Delete(ctx, n.ServiceClient, p.ID).ExtractErr()); err != nil {
			return fmt.Errorf("port %s: %w", p.ID, err)
		}
	}
	return nil
}

func (c Config) unplug(ctx context.Context, node, tap string) error {
	if _, err := output(ctx, c.Enter(node, "ovs-vsctl", "--timeout=20", "--if-exists", "del-port", "br-int", tap)...); err != nil {
		return err
	}
	// the tap disappears with the node's namespace, so it may not exist
	_, err := output(ctx, c.Enter(node, "sh", "-c", `! ip link show dev "$1" >/dev/null 2>&1 || ip link del "$1"`, "sh", tap)...)
	return err
}

// tapName returns the name of a port's tap. Nova names it the same.
func tapName(port string) string { return "tap" + port[:11] }

// List returns all guests sorted by name, including those that do not run.
func (c Config) List() ([]Guest, error) {
	files, err := filepath.Glob(filepath.Join(c.Dir, "*", "guest.json"))
	if err != nil {
		return nil, err
	}
	var all []Guest
	for _, f := range files {
		g, err := c.read(filepath.Base(filepath.Dir(f)))
		if err != nil {
			return nil, err
		}
		_, g.Running = c.Supervisor.Running(ComponentName(g.Name))
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b Guest) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (c Config) vmDir(name string) string { return filepath.Join(c.Dir, name) }

func (c Config) read(name string) (g Guest, err error) {
	data, err := os.ReadFile(filepath.Join(c.vmDir(name), "guest.json"))
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal(data, &g)
}

func (c Config) record(g Guest) error {
	data, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.vmDir(g.Name), 0o755); err != nil {
		return err
	}
	return writeChanged(filepath.Join(c.vmDir(g.Name), "guest.json"), append(data, '\n'))
}
