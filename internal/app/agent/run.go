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
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
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

// agent is all the parts of one.
type agent struct {
	o        Options
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
	a, err := assemble(o, s, config, log)
	if err != nil {
		return err
	}
	defer a.node.machine.Close()
	log.Info("isthmus-agent starts", "node", o.NodeName, "cluster", s.Cluster)
	return a.run(ctx)
}

func assemble(o Options, s settings.Settings, config *rest.Config, log *slog.Logger) (*agent, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := NewMetrics(registry)
	wake := make(wakeup, 1)
	var ovs *netdev.Switch
	ovs = netdev.NewSwitch(netdev.SwitchOptions{Endpoint: o.OVS, Log: log, Changed: func() {
		metrics.setConnected("ovs", ovs.Connected())
		wake.send()
	}})
	machine, err := netdev.NewMachine(ovs, "")
	if err != nil {
		return nil, err
	}
	k, err := newKube(config, o.NodeName)
	if err != nil {
		return nil, err
	}
	n := &node{
		name: o.NodeName, bridge: o.Bridge, owner: s.Cluster, join: parsePrefixes(s.JoinCIDR), fixedMTU: s.UnderlayMTU,
		kube: k, ovs: ovs, machine: machine, log: log, wake: wake,
	}
	n.net = nodenet.New(nodenet.Options{Log: log, Plug: n.plugOVN0, Unplug: n.unplugOVN0})
	p := &pods{
		claims: apiClaims{k.client}, ovs: ovs, machine: machine,
		bridge: o.Bridge, owner: s.Cluster, underlay: n.underlay,
	}
	return &agent{
		o: o, log: log, ovs: ovs, kube: k, node: n, registry: registry,
		server: &server{pods: p, metrics: metrics, log: log},
	}, nil
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
	g.Go(func() error { return a.ovs.Run(inner) })
	g.Go(func() error { return a.kube.run(inner, a.node.wake.send, a.log) })
	g.Go(func() error { return a.node.run(inner) })
	g.Go(func() error { return a.node.watch(inner) })
	g.Go(func() error { return a.serveHTTP(inner, health) })
	g.Go(func() error { defer end(); return a.server.serve(asked, l) })
	g.Go(func() error {
		err := install(asked, a.o, a.ovs.Ready, a.log)
		if asked.Err() != nil {
			return nil
		}
		return err
	})
	return g.Wait()
}

// serveHTTP serves metrics and health until ctx ends.
func (a *agent) serveHTTP(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := a.server.pods.node(); err != nil {
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
