// Package host knows the machine that the lab stands on: the bridge that
// joins the nodes, nodes as namespaces with private directories, and cgroups.
// It does not know what runs inside.
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
	Addr netip.Prefix // on Uplink
	Dir  string       // its part of the lab's state
	Site Site
}

// Nic is the node's end of its cable. The node's address is not on it but on
// Uplink, the OVS bridge that holds it: OVS's userspace tunnels find their way
// only over such a bridge.
const (
	Nic    = "eth0"
	Uplink = "br-phy"
)

// Nodes makes n nodes, node1 to node<n>, the first with the 11th address.
func (s Site) Nodes(n int) []Node {
	var nodes []Node
	for i := range n {
		nodes = append(nodes, s.node(fmt.Sprintf("node%d", i+1), byte(11+i)))
	}
	return nodes
}

// Outside is a host of the underlay that is no node: a client from elsewhere.
func (s Site) Outside() Node { return s.node("outside", 2) }

func (s Site) node(name string, host byte) Node {
	return Node{name, s.address(host), filepath.Join(s.Dir, name), s}
}

// MAC of the node's NIC, the same in every lab on that underlay.
func (n Node) MAC() string {
	a := n.Addr.Addr().As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3])
}

// Link is the name of the bridge's end of the node's cable.
func (n Node) Link() string { return n.Site.linkPrefix() + n.Name }

// Namespace is the file that keeps a namespace: "net", "mnt" or "uts".
func (n Node) Namespace(kind string) string { return filepath.Join(n.Dir, "ns", kind) }

// Private is where a directory of the node, such as /run/openvswitch, lies on
// the machine.
func (n Node) Private(dir string) string { return filepath.Join(n.Dir, "root", dir) }

// Enter is argv run on the node. Not by "ip netns exec": that hides the
// cgroups from the kubelet.
func (n Node) Enter(argv ...string) []string {
	return append([]string{
		"nsenter", "--net=" + n.Namespace("net"), "--mount=" + n.Namespace("mnt"), "--uts=" + n.Namespace("uts"), "--",
	}, argv...)
}

// CgroupRoot is the node's cgroup as the kubelet calls it.
func (n Node) CgroupRoot() string { return "/" + n.Site.cgroup() + "/" + n.Name }

// Run runs a command on the machine and returns its output. An error carries
// what the command said.
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

// runAll runs commands one after the other until one fails.
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
