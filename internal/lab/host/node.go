package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// private are the directories that a node must not share with the machine or with other
// nodes. Inside the node they have their usual paths, so that a DaemonSet's hostPaths
// need no change.
var private = []string{
	"/etc/cni/net.d", "/etc/isthmus", "/etc/kubernetes", "/etc/openvswitch",
	"/opt/cni/bin",
	"/run/containerd", "/run/isthmus", "/run/netns", "/run/openvswitch", "/run/ovn",
	"/var/lib/cni", "/var/lib/containerd", "/var/lib/isthmus", "/var/lib/kubelet", "/var/lib/openvswitch",
	"/var/log/containers", "/var/log/openvswitch", "/var/log/ovn", "/var/log/pods",
}

// kinds are the kinds of a node's namespaces, as named in /proc/PID/ns.
var kinds = []string{"net", "mnt", "uts"}

// setup is a script that runs inside the new namespaces. $1 is the node's name, $2 the
// directory that has the private directories. The other arguments are their paths.
const setup = `set -eu
name=$1 root=$2; shift 2
hostname "$name"
for dir; do mount --bind "$root$dir" "$dir"; done
# as on a real host: what a pod or containerd mounts here must reach other pods
mount --make-rshared /
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
`

// Ensure creates the node's namespaces, veth pair and cgroups, as far as they are
// missing. If the namespaces are incomplete or of another version, it removes the whole
// node first.
func (n Node) Ensure(ctx context.Context) error {
	if !n.Exists() {
		if err := n.Remove(ctx); err != nil {
			return err
		}
		if err := n.create(ctx); err != nil {
			return fmt.Errorf("make %s: %w", n.Name, err)
		}
	}
	if err := n.ensureVeth(ctx); err != nil {
		return fmt.Errorf("join %s to %s: %w", n.Name, n.Site.Bridge(), err)
	}
	return n.ensureCgroups()
}

// Exists reports whether all namespaces of the node exist in the version that Ensure
// creates.
func (n Node) Exists() bool {
	for _, kind := range kinds {
		if !isNamespace(n.Namespace(kind)) {
			return false
		}
	}
	stamp, err := os.ReadFile(n.stamp())
	return err == nil && string(stamp) == version()
}

func (n Node) stamp() string { return filepath.Join(n.Dir, "ns", "version") }

func version() string {
	sum := sha256.Sum256([]byte(setup + strings.Join(private, " ")))
	return hex.EncodeToString(sum[:8])
}

func isNamespace(file string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(file, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

func (n Node) create(ctx context.Context) error {
	if err := n.makeDirs(); err != nil {
		return err
	}
	dir := filepath.Join(n.Dir, "ns")
	args := []string{"unshare", "--propagation", "private"}
	for _, kind := range kinds {
		file := n.Namespace(kind)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return err
		}
		long := map[string]string{"net": "--net", "mnt": "--mount", "uts": "--uts"}[kind]
		args = append(args, long+"="+file)
	}
	args = append(args, "sh", "-c", setup, "sh", n.Name, n.Private(""))
	// the file of a mount namespace must be below a mount that does not propagate
	err := runAll(ctx,
		[]string{"mount", "--bind", dir, dir},
		[]string{"mount", "--make-private", dir},
		append(args, private...),
	)
	if err != nil {
		return err
	}
	return os.WriteFile(n.stamp(), []byte(version()), 0o644)
}

func (n Node) makeDirs() error {
	if err := os.MkdirAll(filepath.Join(n.Dir, "ns"), 0o755); err != nil {
		return err
	}
	for _, dir := range private {
		if err := os.MkdirAll(n.Private(dir), 0o755); err != nil {
			return err
		}
		if err := n.makeMountPoint(dir); err != nil {
			return err
		}
	}
	return nil
}

// Remove kills every process of the node and removes its namespaces, its veth pair, its
// cgroups and its state.
func (n Node) Remove(ctx context.Context) error {
	// the second round catches processes that were started during the first
	for range 2 {
		if err := supervise.End(ctx, 0, n.Processes()...); err != nil {
			return fmt.Errorf("end the processes of %s: %w", n.Name, err)
		}
	}
	if err := unmountBelow(n.Dir); err != nil {
		return err
	}
	if err := removeLink(ctx, n.Link()); err != nil {
		return err
	}
	if err := removeCgroups(ctx, n.CgroupRoot()); err != nil {
		return err
	}
	return os.RemoveAll(n.Dir)
}

// Processes returns the processes in the node's namespaces and cgroups: its daemons, its
// pods, and programs that the user started on it.
func (n Node) Processes() []supervise.Process {
	wanted := map[string]bool{}
	for _, kind := range kinds {
		var st unix.Stat_t
		if file := n.Namespace(kind); isNamespace(file) && unix.Stat(file, &st) == nil {
			wanted[fmt.Sprintf("%s:[%d]", kind, st.Ino)] = true
		}
	}
	own := fmt.Sprintf(":%s/", n.CgroupRoot())
	return supervise.Select(func(pid int) bool {
		for _, kind := range kinds {
			if link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil && wanted[link] {
				return true
			}
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		return err == nil && strings.Contains(string(text)+"/", own)
	})
}

// unmountBelow detaches every mount at or below dir, innermost first.
func unmountBelow(dir string) error {
	mounts, err := Mounts(dir)
	for _, mount := range slices.Backward(mounts) {
		if e := unix.Unmount(mount, unix.MNT_DETACH); e != nil && !errors.Is(e, unix.EINVAL) {
			err = errors.Join(err, fmt.Errorf("umount %s: %w", mount, e))
		}
	}
	return err
}

// Mounts returns the mount points at and below dir in the order of their creation.
func Mounts(dir string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	var found []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			found = append(found, f[4])
		}
	}
	return found, err
}

// cgroupTimeout limits the wait until the kernel releases a cgroup.
const cgroupTimeout = 15 * time.Second
