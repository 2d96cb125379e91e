package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/kube"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/lab/ovn"
)

// layout derives addresses, names and file paths from the options. It starts
// nothing and has no state of its own.
type layout struct {
	Options
	nodes []host.Node
}

func (l layout) central() ovn.Central {
	return ovn.Central{Dir: filepath.Join(l.Dir, "ovn"), Site: l.site()}
}

func (l layout) cluster() kube.Cluster {
	c := kube.Cluster{Dir: filepath.Join(l.Dir, "kube"), Bin: l.KubeBin, Nodes: l.kubelets(), Site: l.site(), Proxy: l.KubeProxy}
	if l.Profile == Nested {
		c.Accounts = []string{controller}
	}
	return c
}

// kubelets returns the hosts that are Kubernetes nodes. In profile Nested, the
// nodes are virtual machines; with Mixed, the last host is a node as well. One
// such host is enough: one virtual machine is on it and the others are not.
func (l layout) kubelets() []host.Node {
	switch {
	case l.Profile != Nested:
		return l.nodes
	case l.Mixed:
		return l.nodes[len(l.nodes)-1:]
	}
	return nil
}

// chassis returns a node's chassis. If the lab has an outside, only the first node
// is a gateway to it.
func (l layout) chassis(n host.Node, peers []host.Node) ovn.Chassis {
	first := n.Name == l.nodes[0].Name
	return ovn.Chassis{Node: n, SB: l.central().SB(), Self: l.self(), Peers: peers, Gateway: !l.hasOutside() || first}
}

func (l layout) cloud() openstack.Config {
	c := openstack.Config{
		Dir:      filepath.Join(l.Dir, "openstack"),
		LogDir:   l.logDir(),
		Bind:     l.site().Gateway().Addr().String(),
		NB:       l.central().NB(),
		SB:       l.central().SB(),
		Octavia:  l.Octavia,
		CacheDir: l.CacheDir,
		Needs:    []string{"ovn-nb/settings", "ovn-sb/settings"},
	}
	if l.hasOutside() {
		c.External = public()
		c.AllowedPorts = l.allowedPorts()
		c.Chassis = []string{l.outsideWorld().Gateway.Controller()}
	}
	return c
}

// outsideWorld returns the network and the host outside the cloud.
func (l layout) outsideWorld() ovn.Outside {
	o := ovn.Outside{Gateway: l.chassis(l.nodes[0], nil), Host: l.site().Outside(), Network: public(), Reached: netip.MustParsePrefix(kube.ServiceCIDR)}
	if l.Profile == Nested {
		o.Reached = public() // the nodes' floating IPs are in it
	}
	return o
}

// allowedPorts returns the TCP ports of the nodes that are open to the outside: SSH,
// the kubelet, and the HTTP server that every guest runs.
func (l layout) allowedPorts() []int {
	if l.Profile != Nested {
		return nil
	}
	return []int{22, 80, 10250}
}

// workerNames returns the names of the virtual machines that are Kubernetes nodes,
// one on each host. It returns nil outside of profile Nested.
func (l layout) workerNames() []string {
	if l.Profile != Nested {
		return nil
	}
	names := make([]string, len(l.nodes))
	for i := range l.nodes {
		names[i] = fmt.Sprintf("worker%d", i+1)
	}
	return names
}

func (l layout) node(name string) (host.Node, error) { return named(l.nodes, name) }

// hosts returns the nodes and the host outside, if the lab has one.
func (l layout) hosts() []host.Node {
	if !l.hasOutside() {
		return l.nodes
	}
	return append(slices.Clone(l.nodes), l.site().Outside())
}

func (l layout) host(name string) (host.Node, error) { return named(l.hosts(), name) }

// logDir is the directory with the components' logs.
func (l layout) logDir() string { return filepath.Join(l.Dir, "log") }

// programs is a directory to put on PATH. It has kubectl and its plugin in the
// versions that the lab uses.
func (l layout) programs() string { return filepath.Join(l.Dir, "bin") }

// self is the path of a copy of this program. The copy remains after "go run" ends.
func (l layout) self() string { return filepath.Join(l.programs(), "isthmus-lab") }

// archives returns the image files that are imported into nodes.
func (l layout) archives() []string {
	files, _ := filepath.Glob(filepath.Join(l.Repo, "bin", "*.tar")) // it errs only for a bad pattern
	return slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == coreDNSTar && !l.neutronPods() })
}

// cloudsFile is the path of the clouds.yaml of a controller outside the cluster. It
// is empty if the controller is inside and reads it at the usual path.
func (l layout) cloudsFile() string {
	if l.Profile != Nested || !l.neutronPods() {
		return ""
	}
	return filepath.Join(l.Dir, "kube", "clouds.yaml")
}

// settingsFile is the path of a copy of the ConfigMap's settings, which a controller
// outside the cluster reads.
func (l layout) settingsFile() string { return filepath.Join(l.Dir, "kube", "settings.yaml") }

// poolSocket is the Unix socket on which a controller outside the cluster serves
// its pools.
func (l layout) poolSocket() string { return filepath.Join(l.Dir, "pool.sock") }

// isVM reports whether a component is a virtual machine: a step of Up that leaves
// a running process.
func (l layout) isVM(name string) bool { return l.OpenStack && filepath.Dir(name) == "vm" }

// canBecome reports whether Up can turn a lab with options o into this one. It cannot
// turn a Kubernetes node back into a plain host.
func (l layout) canBecome(o Options) bool {
	return o.Profile == l.Profile && o.Underlay == l.Underlay && (l.Profile != Nested || o.Fabric == l.Fabric) && (l.Mixed || !o.Mixed)
}

func (l layout) needOpenStack() error {
	if !l.OpenStack {
		return errors.New("this lab has no OpenStack: isthmus-lab up --openstack")
	}
	return nil
}

func (l layout) kubectl(ctx context.Context, args ...string) error {
	_, err := host.Run(ctx, l.cluster().Kubectl(args...)...)
	return err
}

// Env returns the export statements with which kubectl, openstack, ovn-nbctl and
// ovn-sbctl in a shell use the lab.
func (l layout) Env() string {
	vars := [][2]string{
		{"PATH", l.programs() + ":" + l.KubeBin + ":$PATH"},
		{"KUBECONFIG", l.cluster().Kubeconfig()},
		{"OVN_NB_DB", l.central().NB()},
		{"OVN_SB_DB", l.central().SB()},
	}
	if l.Dir != Dir {
		vars = append(vars, [2]string{DirEnv, l.Dir})
	}
	if l.OpenStack {
		vars = append(vars, [2]string{"OS_CLIENT_CONFIG_FILE", l.Dir + "/openstack/clouds.yaml"}, [2]string{"OS_CLOUD", "admin"})
	}
	if l.Profile == Nested {
		vars = append(vars, [2]string{poolSocketEnv, l.poolSocket()})
	}
	var b strings.Builder
	for _, v := range vars {
		fmt.Fprintf(&b, "export %s=\"%s\"\n", v[0], v[1])
	}
	return b.String()
}

// dirFlag returns the flag, with a space before it, that makes isthmus-lab use this
// lab. It is empty if the lab is in the default directory.
func (l layout) dirFlag() string {
	if l.Dir == Dir {
		return ""
	}
	return " --dir " + l.Dir
}
