package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Main runs the agent until ctx ends, and returns the exit code.
func Main(ctx context.Context, args []string, getenv func(string) string) int {
	o, err := Parse(args, getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "isthmus-agent:", err)
		return 2
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		fmt.Fprintln(os.Stderr, "isthmus-agent: --log-level:", err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	klog.SetSlogLogger(log)
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	if err := Run(ctx, o, log); err != nil {
		log.Error("isthmus-agent ends", "err", err)
		return 1
	}
	return 0
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
func Run(ctx context.Context, o Options, log *slog.Logger) error {
	text, err := os.ReadFile(o.Settings)
	if err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	s, err := settings.Parse(text)
	if err != nil {
		return err
	}
	config, err := restConfig(o.Kubeconfig, s.APIServers)
	if err != nil {
		return err
	}
	k, err := newKube(config, o.NodeName)
	if err != nil {
		return err
	}
	chosen, err := choose(ctx, o, k.client, log)
	if err != nil {
		return err
	}
	a, err := assemble(o, s, k, chosen, log)
	if err != nil {
		return err
	}
	defer a.node.machine.Close()
	log.Info("isthmus-agent starts", "node", o.NodeName, "cluster", s.Cluster, "plug", chosen.mode)
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
	health, err := net.Listen("tcp", a.o.Listen)
	if err != nil {
		l.Close()
		return fmt.Errorf("listen for metrics and health: %w", err)
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
	g.Go(func() error { return a.serveHTTP(inner, health) })
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

// serveHTTP serves metrics and health until ctx ends.
func (a *agent) serveHTTP(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.server.pods.way.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stopped := context.AfterFunc(ctx, func() { s.Close() })
	defer stopped()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}
