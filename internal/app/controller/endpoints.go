package controller

import (
	"context"
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/isthmus-cni/isthmus/internal/daemon"
)

// endpoints serves metrics and health, leader or not.
type endpoints struct {
	address string
	cluster *cluster
}

// NeedLeaderElection tells the manager to serve at once.
func (endpoints) NeedLeaderElection() bool { return false }

// Start serves until ctx ends.
func (e endpoints) Start(ctx context.Context) error {
	return e.endpoints().ListenAndServe(ctx, e.address)
}

func (e endpoints) endpoints() daemon.Endpoints {
	return daemon.Endpoints{
		Metrics: prometheus.Gatherers{e.cluster.registry, metrics.Registry},
		Ready:   e.ready,
	}
}

// ready returns an error if this is the leader and has no connection to OVN. One
// that does not lead is ready to take over.
func (e endpoints) ready() error {
	if e.cluster.leading.Load() && !e.cluster.connected() {
		return errors.New("OVN's northbound database cannot be reached")
	}
	return nil
}

func (c *cluster) connected() bool {
	t := c.leader.Load()
	return t != nil && t.ovn.Connected()
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
	for _, subnet := range b.claims.Networks() {
		v4, v6 := b.claims.Counts(subnet)
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
	t := b.leader.Load()
	if t == nil || t.cloud == nil {
		return
	}
	for _, p := range t.cloud.PortPool.Pools() {
		for state, n := range map[string]int{"ready": p.Ready, "returning": p.Returning, "making": p.Making} {
			ch <- prometheus.MustNewConstMetric(descPool, prometheus.GaugeValue, float64(n), p.Node, p.Project, p.Network, p.Subnets, p.Groups, state)
		}
	}
}
