// Package worker knows how a virtual machine becomes a Kubernetes node: the content of
// its disk and its services. It does not know the machine's network or the pods'
// network.
package worker

import (
	"embed"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/isthmus-cni/isthmus/internal/lab/guest"
	"github.com/isthmus-cni/isthmus/internal/lab/kube"
)

//go:embed root
var root embed.FS

// Memory is the memory of a node in MiB.
const Memory = 1536

// Modules are the kernel modules that containerd, the kubelet and pod networks need.
var Modules = []string{
	"virtio_blk", "overlay", "veth", "nf_tables", "nf_conntrack", "nft_chain_nat", "nft_ct", "nft_nat", "nft_masq",
	"nft_fib_inet", "nft_reject_inet",
	"vxlan", // for the overlay that benchmarks compare Isthmus with
}

// Services are the programs that the machine's init keeps running.
var Services = []string{"/etc/node/containerd", "/etc/node/kubelet"}

// Files returns the files of a machine that joins a cluster. joining has the content
// of the cluster's own files by their name below /etc/kubernetes.
func Files(name string, joining map[string][]byte) ([]guest.File, error) {
	files := []guest.File{directory("etc/kubernetes"), directory("etc/node")}
	for file, data := range joining {
		files = append(files, guest.File{Path: "etc/kubernetes/" + file, Mode: 0o600, Data: data})
	}
	for _, script := range Services {
		data, err := root.ReadFile("root/" + filepath.Base(script))
		if err != nil {
			return nil, err
		}
		files = append(files, guest.File{Path: script[1:], Mode: 0o755, Data: data})
	}
	id := strings.ReplaceAll(uuid.NewSHA1(uuid.NameSpaceDNS, []byte(name)).String(), "-", "")
	return append(files,
		guest.File{Path: "etc/kubernetes/containerd.toml", Mode: 0o644, Data: []byte(kube.ContainerdConfig)},
		guest.File{Path: "etc/machine-id", Mode: 0o444, Data: []byte(id + "\n")},
		guest.File{Path: "etc/os-release", Mode: 0o644, Data: []byte("ID=isthmus-lab\nPRETTY_NAME=\"isthmus-lab guest\"\n")},
	), nil
}

func directory(path string) guest.File { return guest.File{Path: path, Mode: fs.ModeDir | 0o755} }
