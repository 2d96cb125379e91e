package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// page serves /metrics, /healthz and /readyz on one port, leader or not.
type page struct {
	address string
	cluster *cluster
}

// NeedLeaderElection tells the manager to serve at once.
func (page) NeedLeaderElection() bool { return false }

// Start serves until ctx ends.
func (p page) Start(ctx context.Context) error {
	if p.address == "0" {
		<-ctx.Done()
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.address)
	if err != nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	s := &http.Server{Handler: p.mux(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

func (p page) mux() *http.ServeMux {
	mux := http.NewServeMux()
	all := prometheus.Gatherers{p.cluster.registry, metrics.Registry}
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", p.readyz)
	return mux
}

// readyz: a controller that is not the leader is ready; a leader, when it sees OVN.
func (p page) readyz(w http.ResponseWriter, _ *http.Request) {
	if p.cluster.leading.Load() && !p.cluster.connected() {
		http.Error(w, "OVN's northbound database cannot be reached", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (c *cluster) connected() bool {
	f := c.fabric.Load()
	return f != nil && f.Connected()
}

// bookkeeper exports how full the Subnets are, as read when asked.
type bookkeeper struct{ *cluster }

var (
	descIPs  = prometheus.NewDesc("isthmus_ips", "Addresses of a Subnet.", []string{"subnet", "family", "state"}, nil)
	descPool = prometheus.NewDesc("isthmus_pool_ports", "Ports that are made before pods ask for them.", []string{"node", "project", "net", "subnets", "groups", "state"}, nil)
	descNB   = prometheus.NewDesc("isthmus_connected", "1 if the database can be reached.", []string{"db"}, nil)
)

// Describe is for prometheus.
func (bookkeeper) Describe(ch chan<- *prometheus.Desc) {
	ch <- descIPs
	ch <- descNB
	ch <- descPool
}

// Collect is for prometheus.
func (b bookkeeper) Collect(ch chan<- prometheus.Metric) {
	if !b.leading.Load() {
		return
	}
	up := 0.0
	if b.connected() {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(descNB, prometheus.GaugeValue, up, "nb")
	b.collectPools(ch)
	for _, subnet := range b.book.Networks() {
		v4, v6 := b.book.Counts(subnet)
		for family, count := range map[string][2]int64{"ipv4": {v4.Used, v4.Available}, "ipv6": {v6.Used, v6.Available}} {
			ch <- prometheus.MustNewConstMetric(descIPs, prometheus.GaugeValue, float64(count[0]), subnet, family, "used")
			ch <- prometheus.MustNewConstMetric(descIPs, prometheus.GaugeValue, float64(count[1]), subnet, family, "available")
		}
	}
}

func newCalls(r prometheus.Registerer) *prometheus.CounterVec {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_openstack_calls_total", Help: "Calls to OpenStack; in the background are those that no object waits for.",
	}, []string{"service", "verb", "kind", "background"})
	r.MustRegister(calls)
	return calls
}

// countCalls counts the calls of one of the clients of OpenStack.
func (c *cluster) countCalls(service string) func(kind, verb string, background bool) {
	return func(kind, verb string, background bool) {
		c.calls.WithLabelValues(service, verb, kind, strconv.FormatBool(background)).Inc()
	}
}

func (b bookkeeper) collectPools(ch chan<- prometheus.Metric) {
	cl := b.cloud.Load()
	if cl == nil {
		return
	}
	for _, p := range cl.Pools() {
		for state, n := range map[string]int{"ready": p.Ready, "returning": p.Returning, "making": p.Making} {
			ch <- prometheus.MustNewConstMetric(descPool, prometheus.GaugeValue, float64(n), p.Node, p.Project, p.Network, p.Subnets, p.Groups, state)
		}
	}
}
