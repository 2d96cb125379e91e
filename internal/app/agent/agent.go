package agent

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-cni/isthmus/internal/app/agent/claim"
	"github.com/isthmus-cni/isthmus/internal/app/agent/nodelock"
	"github.com/isthmus-cni/isthmus/internal/app/agent/plugmode"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// name is the agent's name in logs, events and requests to the API server.
const name = "isthmus-agent"

// Main runs the agent and returns its exit code. With the argument "cleanup" it removes
// what an agent left on the node.
func Main(args []string, getenv func(string) string) int {
	if len(args) > 0 && args[0] == cleanupCommand {
		return cleanupMain(args[1:], getenv)
	}
	o, err := Parse(args, getenv)
	if err != nil {
		return daemon.UsageError(name, err)
	}
	return daemon.Run(name, o.Options, func(ctx context.Context, p daemon.Process) error { return Run(ctx, o, p) })
}

// agent has all parts of one agent. ovs is nil on a node without a switch.
type agent struct {
	o        Options
	plug     plugmode.Choice
	log      *slog.Logger
	ovs      *netdev.Switch
	kube     *kube
	node     *node
	server   *server
	registry *prometheus.Registry
}

// Run runs the agent until ctx ends, or until a part fails and cannot go on. Pods keep
// their network afterwards.
func Run(ctx context.Context, o Options, p daemon.Process) error {
	unlock, err := nodelock.Share(nodelock.File(o.Socket))
	if err != nil {
		return fmt.Errorf("isthmus-agent cannot run while node %s is cleaned: %w", o.NodeName, err)
	}
	defer unlock()
	k, err := newKube(p.REST, o.NodeName)
	if err != nil {
		return err
	}
	defer k.close()
	mode, err := plugmode.Choose(ctx, o.plugMode(), k.client, p.Log)
	if err != nil {
		return err
	}
	a, err := assemble(o, p.Settings, k, mode, p.Log)
	if err != nil {
		return err
	}
	defer a.node.machine.Close()
	p.Log.Info("agent plugs pods", "node", o.NodeName, "plug", mode.Mode)
	return a.run(ctx)
}

// assemble makes the parts and starts none.
func assemble(o Options, s settings.Settings, k *kube, mode plugmode.Choice, log *slog.Logger) (*agent, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := NewMetrics(registry, mode.Mode)
	a := &agent{o: o, plug: mode, log: log, kube: k, registry: registry}
	changed := signal.New()
	if mode.Mode == plug.OVS {
		a.ovs = netdev.NewSwitch(netdev.SwitchOptions{Endpoint: o.OVS, Log: log, Changed: func() {
			metrics.setSwitchConnected(a.ovs.Connected())
			changed.Set()
		}})
	}
	machine, err := netdev.NewMachine(a.ovs, o.Namespaces)
	if err != nil {
		return nil, err
	}
	p := &plugger{claims: apiClaims{k.client}, machine: machine}
	a.node = &node{
		name: o.NodeName, bridge: o.Bridge, owner: s.Cluster, join: claim.ParsePrefixes(s.JoinCIDR), fixedMTU: s.UnderlayMTU,
		kube: k, plugger: p, machine: machine, ovs: a.ovs, plugFixed: o.Plug != plugmode.Auto, log: log, changed: changed,
	}
	a.node.net = nodenet.New(nodenet.Options{Log: log, Plug: a.node.plugOVN0, Unplug: a.node.unplugOVN0})
	if a.ovs != nil {
		p.attacher = switchAttacher{ovs: a.ovs, machine: machine, bridge: o.Bridge, owner: s.Cluster, underlay: a.node.underlay}
	} else {
		a.node.trunk = &trunkAttacher{machine: machine, nic: o.Trunk}
		p.attacher = a.node.trunk
	}
	a.server = &server{plugger: p, metrics: metrics, log: log}
	return a, nil
}

// run starts all parts and waits for them. When ctx ends, the server finishes its
// requests, and the parts that they need run until then. If the port for health is in
// use, run starts nothing and errs.
func (a *agent) run(ctx context.Context) error {
	health, err := daemon.Listen(ctx, a.o.Listen)
	if err != nil {
		return err
	}
	if health != nil {
		defer health.Close()
	}
	l, err := cniwire.Listen(a.o.Socket)
	if err != nil {
		return fmt.Errorf("listen for the CNI plugin: %w", err)
	}
	inner, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, inner := errgroup.WithContext(inner)
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(inner, stop)()
	g.Go(func() error { return a.runSwitch(inner) })
	g.Go(func() error { return a.kube.run(inner, a.node.changed.Set, a.log) })
	g.Go(func() error { return a.node.run(inner) })
	g.Go(func() error { return a.node.watch(inner) })
	g.Go(func() error { return a.endpoints().Serve(inner, health) })
	g.Go(func() error { defer end(); return a.server.serve(accepting, l) })
	g.Go(func() error {
		err := install(accepting, a.o, a.switchReady, a.log)
		select {
		case <-accepting.Done(): // an install that a stop interrupted has not failed
			return nil
		default:
			return err
		}
	})
	return g.Wait()
}

// runSwitch keeps the connection to the node's switch. On a node without a switch, it
// waits for one to start.
func (a *agent) runSwitch(ctx context.Context) error {
	switch {
	case a.ovs != nil:
		return a.ovs.Run(ctx)
	case a.plug.Detected:
		return plugmode.WatchForSwitch(ctx, a.o.OVS, plugmode.PollInterval, a.log)
	}
	return nil
}

// switchReady waits until the node's switch answers, if there is one.
func (a *agent) switchReady(ctx context.Context) error {
	if a.ovs == nil {
		return nil
	}
	return a.ovs.Ready(ctx)
}

// endpoints returns the HTTP endpoints. They are ready while pods can be plugged.
func (a *agent) endpoints() daemon.Endpoints {
	return daemon.Endpoints{Metrics: a.registry, Ready: a.server.plugger.attacher.ready}
}
