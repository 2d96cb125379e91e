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

// layout is what follows from the options alone: addresses, names and files. It
// starts nothing and keeps nothing.
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

// kubelets are the hosts that are nodes of Kubernetes. Where nodes are virtual
// machines, one host is enough beside them: one machine is on it, the others are not.
func (l layout) kubelets() []host.Node {
	switch {
	case l.Profile != Nested:
		return l.nodes
	case l.Mixed:
		return l.nodes[len(l.nodes)-1:]
	}
	return nil
}

// chassis is a node's. Where there is an outside, the first node has the way to it.
func (l layout) chassis(n host.Node, peers []host.Node) ovn.Chassis {
	first := n.Name == l.nodes[0].Name
	return ovn.Chassis{Node: n, SB: l.central().SB(), Self: l.self(), Peers: peers, Gateway: !l.outside() || first}
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
	if l.outside() {
		c.External = public()
		c.Admitted = l.admitted()
		c.Chassis = []string{l.world().Gateway.Controller()}
	}
	return c
}

// world is what lies beyond it.
func (l layout) world() ovn.Outside {
	o := ovn.Outside{Gateway: l.chassis(l.nodes[0], nil), Host: l.site().Outside(), Network: public(), Reached: netip.MustParsePrefix(kube.ServiceCIDR)}
	if l.Profile == Nested {
		o.Reached = public() // where the nodes' floating IPs are
	}
	return o
}

// admitted are the ports at which the world reaches the nodes: SSH, the kubelet,
// and a page that every guest has.
func (l layout) admitted() []int {
	if l.Profile != Nested {
		return nil
	}
	return []int{22, 80, 10250}
}

// workerNames are the virtual machines that are nodes of Kubernetes, one on each host.
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

// hosts are the nodes and the host outside, if there is one.
func (l layout) hosts() []host.Node {
	if !l.outside() {
		return l.nodes
	}
	return append(slices.Clone(l.nodes), l.site().Outside())
}

func (l layout) host(name string) (host.Node, error) { return named(l.hosts(), name) }

// logDir has what the components wrote.
func (l layout) logDir() string { return filepath.Join(l.Dir, "log") }

// programs is a directory to put on PATH: kubectl and its plugin, in the
// versions that fit the lab.
func (l layout) programs() string { return filepath.Join(l.Dir, "bin") }

// self is a copy of this program that stays when "go run" has ended.
func (l layout) self() string { return filepath.Join(l.programs(), "isthmus-lab") }

// archives are the files of the images that nodes have.
func (l layout) archives() []string {
	files, _ := filepath.Glob(filepath.Join(l.Repo, "bin", "*.tar")) // of a pattern that is right
	return slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == coreDNSTar && !l.neutronPods() })
}

// cloudsFile is where a controller outside the cluster finds what it may know of
// the cloud; empty for the usual place inside.
func (l layout) cloudsFile() string {
	if l.Profile != Nested || !l.neutronPods() {
		return ""
	}
	return filepath.Join(l.Dir, "kube", "clouds.yaml")
}

// settingsFile is what the ConfigMap has, for a controller outside the cluster.
func (l layout) settingsFile() string { return filepath.Join(l.Dir, "kube", "settings.yaml") }

// poolSocket is where that controller serves its pools.
func (l layout) poolSocket() string { return filepath.Join(l.Dir, "pool.sock") }

// isVM tells whether a component is a virtual machine: a step of Up that
// leaves a process.
func (l layout) isVM(name string) bool { return l.OpenStack && filepath.Dir(name) == "vm" }

// fits tells whether a lab with options o can become this one. A host that is a
// node stays one.
func (l layout) fits(o Options) bool {
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

// Env are the lines that make a shell's kubectl, openstack, ovn-nbctl and
// ovn-sbctl talk to the lab.
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

// dirFlag is what a command needs to mean this lab.
func (l layout) dirFlag() string {
	if l.Dir == Dir {
		return ""
	}
	return " --dir " + l.Dir
}
