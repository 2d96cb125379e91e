package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/agent/nodelock"
	"github.com/isthmus-cni/isthmus/internal/app/agent/plugmode"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// cleanupCommand is the argument that makes the program remove what an agent left
// on its node.
const cleanupCommand = "cleanup"

// cleanupMain parses the options of an agent and --wait, cleans the node and returns
// the exit code. With --wait it then waits, ready, until it is stopped, because the pods
// of a DaemonSet must not end.
func cleanupMain(args []string, getenv func(string) string) int {
	o := Default()
	o.NodeName = getenv("NODE_NAME")
	f := pflag.NewFlagSet(name+" "+cleanupCommand, pflag.ContinueOnError)
	o.addFlags(f)
	wait := f.Bool("wait", false, "stay until stopped, with /readyz ready, when the node is clean")
	err := daemon.ParseFlags(f, args, getenv)
	if err == nil {
		err = o.Validate()
	}
	if err != nil {
		return daemon.UsageError(name, err)
	}
	return daemon.Run(name, o.Options, func(ctx context.Context, p daemon.Process) error {
		if err := Cleanup(ctx, o, p); err != nil || !*wait {
			return err
		}
		ready := daemon.Endpoints{Ready: func() error { return nil }}
		return ready.ListenAndServe(ctx, o.Listen)
	})
}

// Cleanup removes everything of ours from this node: the CNI configuration and
// plugin, the pods' ports and links, ovn0 with its routes, rules and nftables
// table, and the Node's annotations. A missing part is no error, so Cleanup can be
// repeated. It waits up to a minute for a running agent to stop, and up to a minute for
// Open vSwitch to answer if it is installed or an agent used it.
func Cleanup(ctx context.Context, o Options, p daemon.Process) error {
	k, err := newKube(p.REST, o.NodeName)
	if err != nil {
		return err
	}
	defer k.close()
	c := cleaner{
		o: o, owner: p.Settings.Cluster, nodes: k.client, log: p.Log, timeout: cleanupTimeout,
		newMachine: netdev.NewMachine, newNetwork: nodenet.New,
	}
	return c.clean(ctx)
}

// cleaner removes what an agent with options o left on the node.
type cleaner struct {
	o     Options
	owner string
	nodes client.Client
	log   *slog.Logger
	// timeout bounds each wait.
	timeout time.Duration
	// The packages' functions; others in tests, where the node is a network namespace.
	newMachine func(ovs *netdev.Switch, namespaces string) (*netdev.Machine, error)
	newNetwork func(nodenet.Options) *nodenet.Network
}

// cleanupTimeout bounds each wait of a cleanup on a node.
const cleanupTimeout = time.Minute

// clean removes the CNI configuration first, so that the runtime requests no more pods.
// If one part fails, it still removes the others. It removes the annotations last and
// only if all others are removed, because they say what there is to remove.
func (c cleaner) clean(ctx context.Context) error {
	unlock, err := c.agentStopped(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	hasSwitch, err := plugmode.NeedsSwitch(ctx, c.o.NodeName, c.o.OVS, c.nodes)
	if err != nil {
		return err
	}
	err = errors.Join(c.removeFiles(), c.removeNetwork(ctx, hasSwitch))
	if err == nil {
		err = c.removeAnnotations(ctx)
	}
	if err != nil {
		return fmt.Errorf("clean node %s: %w", c.o.NodeName, err)
	}
	c.log.Info("node is clean", "node", c.o.NodeName)
	return nil
}

// agentStopped waits until no agent runs on this node, and prevents agents from starting
// until unlock is called, because an agent would make everything again. An agent that
// has closed its socket may still handle requests; it counts as running.
func (c cleaner) agentStopped(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	backoff := retry.Backoff{First: 100 * time.Millisecond, Longest: 2 * time.Second}
	var locked error
	err = backoff.Until(ctx, func(context.Context) error {
		unlock, locked = nodelock.Exclude(nodelock.File(c.o.Socket))
		return locked
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("isthmus-agent still runs on node %s: delete its DaemonSet first: %w", c.o.NodeName, errors.Join(err, locked))
	}
	return unlock, nil
}

// removeFiles removes the CNI configuration, the plugin and the agent's socket.
func (c cleaner) removeFiles() error {
	files := []string{filepath.Join(c.o.ConfDir, confName), filepath.Join(c.o.BinDir, pluginName), c.o.Socket}
	for _, dir := range []string{c.o.ConfDir, c.o.BinDir} {
		left, _ := filepath.Glob(filepath.Join(dir, tmpPattern)) // left by an agent that was killed; the pattern is valid
		files = append(files, left...)
	}
	var errs []error
	for _, file := range files {
		switch err := os.Remove(file); {
		case err == nil:
			c.log.Info("file removed", "file", file)
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// removeNetwork removes pods' ports and links, and the node's own network. If there is
// a switch, it connects to it for that time.
func (c cleaner) removeNetwork(ctx context.Context, hasSwitch bool) error {
	if !hasSwitch {
		return c.removeDevices(ctx, nil)
	}
	ovs := netdev.NewSwitch(netdev.SwitchOptions{Endpoint: c.o.OVS, Log: c.log})
	g, ctx := errgroup.WithContext(ctx)
	ctx, done := context.WithCancel(ctx)
	g.Go(func() error { return ovs.Run(ctx) })
	g.Go(func() error {
		defer done()
		waiting, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		if err := ovs.Ready(waiting); err != nil {
			return fmt.Errorf("connect to Open vSwitch at %s, to remove our ports: %w", c.o.OVS, err)
		}
		return c.removeDevices(ctx, ovs)
	})
	return g.Wait()
}

// removeDevices removes what agents made in both modes, because the mode of the node may
// have changed. ovs may be nil.
func (c cleaner) removeDevices(ctx context.Context, ovs *netdev.Switch) error {
	machine, err := c.newMachine(ovs, c.o.Namespaces)
	if err != nil {
		return err
	}
	defer machine.Close()
	links, err := machine.Links()
	if err != nil {
		return err
	}
	vlans, others := map[string]bool{}, map[string]bool{}
	for _, l := range links {
		if l.Mark.VLAN != "" {
			vlans[l.Name] = true
		} else {
			others[l.Name] = true
		}
	}
	// VLANs first: sweep finds them in the pods' namespaces by their host links.
	err = trunkAttacher{machine: machine}.sweep(ctx, others, &sandboxLocks{})
	return errors.Join(err, c.removeOthers(ctx, ovs, machine, vlans), c.removeNode(ctx, ovs), c.logLinks(links, machine))
}

// removeOthers removes the pods' ports and links of a node with a switch.
func (c cleaner) removeOthers(ctx context.Context, ovs *netdev.Switch, machine *netdev.Machine, vlans map[string]bool) error {
	if ovs != nil {
		for _, port := range ovs.Ports(plug.KeyOwner, c.owner) {
			c.log.Info("removing port", "port", port.Name, "bridge", c.o.Bridge)
		}
		return switchAttacher{ovs: ovs, machine: machine, owner: c.owner}.sweep(ctx, vlans, &sandboxLocks{})
	}
	links, err := machine.Links()
	errs := []error{err}
	for _, l := range links {
		if !vlans[l.Name] {
			errs = append(errs, machine.RemoveLink(l.Name))
		}
	}
	return errors.Join(errs...)
}

// logLinks logs which of the links no longer exist.
func (c cleaner) logLinks(links []netdev.Link, machine *netdev.Machine) error {
	left, err := machine.Links()
	if err != nil {
		return err
	}
	still := map[string]bool{}
	for _, l := range left {
		still[l.Name] = true
	}
	for _, l := range links {
		if !still[l.Name] {
			c.log.Info("link removed", "link", l.Name, "pod", l.Mark.Pod)
		}
	}
	return nil
}

// removeNode removes ovn0 and the node's routes, rules and nftables table.
func (c cleaner) removeNode(ctx context.Context, ovs *netdev.Switch) error {
	o := nodenet.Options{
		Log:  c.log,
		Plug: func(context.Context, string, string, string) error { return errors.New("a cleanup plugs nothing") },
		Unplug: func(ctx context.Context, name string) error {
			if ovs == nil || !ownsPort(ovs, c.owner, name) {
				return nil
			}
			return ovs.Remove(ctx, name)
		},
	}
	if err := c.newNetwork(o).Remove(ctx); err != nil {
		return fmt.Errorf("remove the node's network: %w", err)
	}
	c.log.Info("node's network removed", "link", nodenet.NodeLink)
	return nil
}

// ownsPort returns whether the owner has a port of that name in the switch.
func ownsPort(ovs *netdev.Switch, owner, name string) bool {
	return slices.ContainsFunc(ovs.Ports(plug.KeyOwner, owner), func(p netdev.Port) bool { return p.Name == name })
}

// removeAnnotations removes the annotations that an agent wrote on the Node. A missing
// Node is no error.
func (c cleaner) removeAnnotations(ctx context.Context) error {
	none := map[string]*string{v1.Plug: nil, v1.AnnotationUnderlayMTU: nil, v1.AnnotationMACs: nil}
	if err := patchAnnotations(ctx, c.nodes, c.o.NodeName, none); client.IgnoreNotFound(err) != nil {
		return err
	}
	c.log.Info("annotations removed", "node", c.o.NodeName)
	return nil
}
