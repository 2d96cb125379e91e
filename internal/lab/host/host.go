// Package host knows what the lab has on the machine: the bridge between the nodes, nodes
// as namespaces with private directories, and cgroups. It does not know what runs inside.
package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Node is one host of the lab.
type Node struct {
	Name string
	Addr netip.Prefix // address on Uplink
	Dir  string       // the node's state, below the lab's directory
	Site Site
}

// Nic is the node's end of its veth pair. Uplink is the OVS bridge that has Nic as a port
// and the node's address. The address must be on a bridge, because userspace tunnels of
// OVS find their route only through one.
const (
	Nic    = "eth0"
	Uplink = "br-phy"
)

// Nodes returns n nodes, node1 to node<n>. The first has the 11th address of the underlay.
func (s Site) Nodes(n int) []Node {
	var nodes []Node
	for i := range n {
		nodes = append(nodes, s.node(fmt.Sprintf("node%d", i+1), byte(11+i)))
	}
	return nodes
}

// Outside returns a host of the underlay that is not a node: a client outside the cloud.
func (s Site) Outside() Node { return s.node("outside", 2) }

func (s Site) node(name string, host byte) Node {
	return Node{name, s.address(host), filepath.Join(s.Dir, name), s}
}

// MAC returns the MAC address of the node's NIC. It depends on the node's address only.
func (n Node) MAC() string {
	a := n.Addr.Addr().As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3])
}

// Link returns the name of the bridge's end of the node's veth pair.
func (n Node) Link() string { return n.Site.linkPrefix() + n.Name }

// Namespace returns the file to which a namespace is bound. kind is "net", "mnt" or "uts".
func (n Node) Namespace(kind string) string { return filepath.Join(n.Dir, "ns", kind) }

// Private returns the path on the machine of a node's private directory or of a file in
// it, such as /run/openvswitch.
func (n Node) Private(dir string) string { return filepath.Join(n.Dir, "root", dir) }

// Enter returns the command that runs argv on the node. It does not use "ip netns exec",
// which would hide the cgroups from the kubelet.
func (n Node) Enter(argv ...string) []string {
	return append([]string{
		"nsenter", "--net=" + n.Namespace("net"), "--mount=" + n.Namespace("mnt"), "--uts=" + n.Namespace("uts"), "--",
	}, argv...)
}

// CgroupRoot returns the node's cgroup in the form of the kubelet's cgroupRoot.
func (n Node) CgroupRoot() string { return "/" + n.Site.cgroup() + "/" + n.Name }

// Run runs a command on the machine and returns its standard output. If the command
// fails, the error contains its standard error.
func Run(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
}

// runAll runs commands in order. It stops at the first that fails and returns its error.
func runAll(ctx context.Context, commands ...[]string) error {
	for _, argv := range commands {
		if _, err := Run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
