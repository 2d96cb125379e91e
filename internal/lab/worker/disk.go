package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Disk makes the image of the nodes' disks.
type Disk struct {
	// Dir is the directory of the image.
	Dir string
	// Kubelet is the path of the kubelet. All other programs are from the
	// distribution.
	Kubelet string
	// Images are the archives of the container images that every node has.
	Images []string
	// Supervisor runs the containerd that unpacks Images.
	Supervisor *supervise.Supervisor
}

// size is the size of the file system. The image is sparse: unused blocks take no space
// on the host's disk.
const size = "4G"

// programs are the paths of the distribution's programs that a node needs. iproute2's
// ip is one of them because busybox's ip, the first in a guest's PATH, supports few
// kinds of links.
var programs = []string{
	"/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/ctr", "/usr/sbin/runc", "/usr/bin/ip",
}

// plugins are the reference CNI plugins.
const plugins = "/usr/lib/cni"

// Image returns the path of the image. It makes the image if it does not exist.
func (d Disk) Image(ctx context.Context) (string, error) {
	sum, err := d.sum()
	if err != nil {
		return "", err
	}
	image := filepath.Join(d.Dir, "node-"+sum+".img")
	if _, err := os.Stat(image); !errors.Is(err, fs.ErrNotExist) {
		return image, err
	}
	// remove the files of a killed run and the image of older programs
	if err := os.RemoveAll(d.Dir); err != nil {
		return "", err
	}
	tree := filepath.Join(d.Dir, "tree")
	if err := d.fill(ctx, tree); err != nil {
		return "", err
	}
	if _, err := host.Run(ctx, "mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", tree, image+".new", size); err != nil {
		return "", err
	}
	return image, errors.Join(os.RemoveAll(tree), os.Rename(image+".new", image))
}

// sum returns a checksum of the paths, sizes and times of the image's sources.
func (d Disk) sum() (string, error) {
	sum := sha256.New()
	for _, file := range slices.Concat(programs, []string{d.Kubelet}, d.Images) {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(sum, file, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// fill makes the tree of the file system, without the files that every guest has.
func (d Disk) fill(ctx context.Context, tree string) error {
	for _, dir := range []string{"opt/cni/bin", "etc/cni/net.d", "usr/bin", "var/lib/containerd", "var/log", "root"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("/run", filepath.Join(tree, "var/run")); err != nil {
		return err
	}
	all := append(slices.Clone(programs), d.Kubelet)
	if _, err := host.Run(ctx, append(append([]string{"cp", "-L"}, all...), filepath.Join(tree, "usr/bin"))...); err != nil {
		return err
	}
	if err := libraries(ctx, tree, all); err != nil {
		return err
	}
	if _, err := host.Run(ctx, "cp", filepath.Join(plugins, "loopback"), filepath.Join(tree, "opt/cni/bin")); err != nil {
		return err
	}
	return d.unpack(ctx, filepath.Join(tree, "var/lib/containerd"))
}

// library matches a library's path in the output of ldd.
var library = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// libraries copies the shared libraries of the programs to the same paths in the tree.
func libraries(ctx context.Context, tree string, programs []string) error {
	for _, p := range programs {
		out, err := host.Run(ctx, "ldd", p)
		if _, ok := errors.AsType[*exec.ExitError](err); ok {
			continue // a static program
		}
		if err != nil {
			return err
		}
		for _, m := range library.FindAllStringSubmatch(out, -1) {
			if _, err := host.Run(ctx, "install", "-D", m[1], filepath.Join(tree, m[1])); err != nil {
				return err
			}
		}
	}
	return nil
}

// unpack imports the images with a temporary containerd whose root is where. It does so
// here because it would take far longer in the guests.
func (d Disk) unpack(ctx context.Context, where string) error {
	state := filepath.Join(d.Dir, "state")
	socket, config := filepath.Join(state, "s"), filepath.Join(state, "config.toml")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"+
		"[grpc]\n  address = %q\n[plugins.\"io.containerd.internal.v1.opt\"]\n  path = %q\n", where, state, socket, state)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	ctr := []string{"ctr", "--address", socket, "--timeout=60s", "--connect-timeout=5s"}
	runtime := supervise.Component{
		Name: "disk/containerd",
		Argv: []string{"containerd", "--config", config},
		Ready: func(ctx context.Context) error {
			_, err := host.Run(ctx, append(slices.Clone(ctr), "version")...)
			return err
		},
	}
	if err := d.Supervisor.Ensure(ctx, runtime); err != nil {
		return err
	}
	var errs []error
	for _, image := range d.Images {
		_, err := host.Run(ctx, append(slices.Clone(ctr), "-n", "k8s.io", "images", "import", image)...)
		errs = append(errs, err)
	}
	errs = append(errs, d.Supervisor.Stop(ctx, runtime.Name))
	return errors.Join(append(errs, os.RemoveAll(state))...)
}
