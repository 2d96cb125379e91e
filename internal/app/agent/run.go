package agent

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// name is the agent's in logs, events and requests to the API server.
const name = "isthmus-agent"

// Main runs the agent and returns its exit code.
func Main(args []string, getenv func(string) string) int {
	o, err := Parse(args, getenv)
	if err != nil {
		return daemon.UsageError(name, err)
	}
	return daemon.Run(name, o.Options, func(ctx context.Context, p daemon.Process) error { return Run(ctx, o, p) })
}

// agent is all the parts of one. Without a switch of the node's there is no ovs.
type agent struct {
	o        Options
	chosen   choice
	log      *slog.Logger
	ovs      *netdev.Switch
	kube     *kube
	node     *node
	server   *server
	registry *prometheus.Registry
}

// Run works until ctx ends or a part fails for good. Pods keep their network
// after it.
func Run(ctx context.Context, o Options, p daemon.Process) error {
	k, err := newKube(p.REST, o.NodeName)
	if err != nil {
		return err
	}
	chosen, err := choose(ctx, o, k.client, p.Log)
	if err != nil {
		return err
	}
	a, err := assemble(o, p.Settings, k, chosen, p.Log)
	if err != nil {
		return err
	}
	defer a.node.machine.Close()
	p.Log.Info("agent plugs pods", "node", o.NodeName, "plug", chosen.mode)
	return a.run(ctx)
}

func assemble(o Options, s settings.Settings, k *kube, chosen choice, log *slog.Logger) (*agent, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := NewMetrics(registry)
	wake := make(wakeup, 1)
	a := &agent{o: o, chosen: chosen, log: log, kube: k, registry: registry}
	if chosen.mode == plug.OVS {
		a.ovs = netdev.NewSwitch(netdev.SwitchOptions{Endpoint: o.OVS, Log: log, Changed: func() {
			metrics.setConnected("ovs", a.ovs.Connected())
			wake.send()
		}})
	}
	machine, err := netdev.NewMachine(a.ovs, o.Namespaces)
	if err != nil {
		return nil, err
	}
	p := &pods{claims: apiClaims{k.client}, machine: machine}
	a.node = &node{
		name: o.NodeName, bridge: o.Bridge, owner: s.Cluster, join: parsePrefixes(s.JoinCIDR), fixedMTU: s.UnderlayMTU,
		kube: k, pods: p, machine: machine, ovs: a.ovs, fixed: o.Plug != plugAuto, log: log, wake: wake,
	}
	a.node.net = nodenet.New(nodenet.Options{Log: log, Plug: a.node.plugOVN0, Unplug: a.node.unplugOVN0})
	if a.ovs != nil {
		p.way = onSwitch{ovs: a.ovs, machine: machine, bridge: o.Bridge, owner: s.Cluster, underlay: a.node.underlay}
	} else {
		a.node.trunk = &onTrunk{machine: machine, nic: o.Trunk}
		p.way = a.node.trunk
	}
	a.server = &server{pods: p, metrics: metrics, log: log}
	return a, nil
}

// run starts all parts. What requests need outlives ctx until they are done.
func (a *agent) run(ctx context.Context) error {
	l, err := listen(a.o.Socket)
	if err != nil {
		return fmt.Errorf("listen for the CNI plugin: %w", err)
	}
	inner, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, inner := errgroup.WithContext(inner)
	asked, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(inner, stop)()
	g.Go(func() error { return a.switched(inner) })
	g.Go(func() error { return a.kube.run(inner, a.node.wake.send, a.log) })
	g.Go(func() error { return a.node.run(inner) })
	g.Go(func() error { return a.node.watch(inner) })
	g.Go(func() error { return a.endpoints().ListenAndServe(inner, a.o.Listen) })
	g.Go(func() error { defer end(); return a.server.serve(asked, l) })
	g.Go(func() error {
		err := install(asked, a.o, a.canPlug, a.log)
		if asked.Err() != nil {
			return nil
		}
		return err
	})
	return g.Wait()
}

// switched keeps the connection to the node's switch, or waits for one to come.
func (a *agent) switched(ctx context.Context) error {
	switch {
	case a.ovs != nil:
		return a.ovs.Run(ctx)
	case a.chosen.found:
		return watchForSwitch(ctx, a.o.OVS, lookForSwitch, a.log)
	}
	return nil
}

// canPlug waits until the node's switch answers, where it is needed.
func (a *agent) canPlug(ctx context.Context) error {
	if a.ovs == nil {
		return nil
	}
	return a.ovs.Ready(ctx)
}

// endpoints are ready while pods can be plugged.
func (a *agent) endpoints() daemon.Endpoints {
	return daemon.Endpoints{Metrics: a.registry, Ready: a.server.pods.way.ready}
}
