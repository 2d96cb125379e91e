package controller

import (
	"context"
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/daemon"
)

// endpoints serves metrics and health, leader or not.
type endpoints struct {
	address string
	cluster *cluster
}

// NeedLeaderElection returns false, so that the manager starts the server at
// once.
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

// ready returns an error if this controller leads and has no connection to OVN. A
// controller that does not lead is ready to take over.
func (e endpoints) ready() error {
	if e.cluster.leading.Load() && !connected(e.cluster.leader.Load()) {
		return errors.New("OVN's northbound database cannot be reached")
	}
	return nil
}

// connected is false for a controller that does not lead, whose topology is nil.
func connected(t *topology.Topology) bool {
	return t != nil && t.OVN.Connected()
}

// collector exports the state of addresses, pools and the connection. It reads
// them at each scrape.
type collector struct{ *cluster }

var (
	descAddresses = prometheus.NewDesc("isthmus_subnet_addresses", "Addresses of a Subnet, by family and state.", []string{"subnet", "family", "state"}, nil)
	descPool      = prometheus.NewDesc("isthmus_pool_ports", "Ports that are created before pods need them, by state.", []string{"node", "project", "net", "subnets", "groups", "state"}, nil)
	descConnected = prometheus.NewDesc("isthmus_ovn_connected", "1 if the leader is connected to the database, else 0.", []string{"db"}, nil)
)

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descAddresses
	ch <- descConnected
	ch <- descPool
}

// Collect implements prometheus.Collector.
func (b collector) Collect(ch chan<- prometheus.Metric) {
	if !b.leading.Load() {
		return
	}
	up := 0.0
	if connected(b.leader.Load()) {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(descConnected, prometheus.GaugeValue, up, "nb")
	b.collectPools(ch)
	for _, subnet := range b.claims.Networks() {
		v4, v6 := b.claims.Counts(subnet)
		for family, count := range map[string][2]int64{"ipv4": {v4.Used, v4.Available}, "ipv6": {v6.Used, v6.Available}} {
			ch <- prometheus.MustNewConstMetric(descAddresses, prometheus.GaugeValue, float64(count[0]), subnet, family, "used")
			ch <- prometheus.MustNewConstMetric(descAddresses, prometheus.GaugeValue, float64(count[1]), subnet, family, "available")
		}
	}
}

func newCalls(r prometheus.Registerer) *prometheus.CounterVec {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_openstack_calls_total", Help: "Calls to OpenStack. No object waits for those in the background.",
	}, []string{"service", "verb", "kind", "background"})
	r.MustRegister(calls)
	return calls
}

// countCalls returns a function that counts the calls to a service of OpenStack.
func (c *cluster) countCalls(service string) func(kind, verb string, background bool) {
	return func(kind, verb string, background bool) {
		c.calls.WithLabelValues(service, verb, kind, strconv.FormatBool(background)).Inc()
	}
}

func (b collector) collectPools(ch chan<- prometheus.Metric) {
	t := b.leader.Load()
	if t == nil || t.Cloud == nil {
		return
	}
	for _, p := range t.Cloud.PortPool.Pools() {
		for state, n := range map[string]int{"ready": p.Ready, "returning": p.Returning, "making": p.Making} {
			ch <- prometheus.MustNewConstMetric(descPool, prometheus.GaugeValue, float64(n), p.Node, p.Project, p.Network, p.Subnets, p.Groups, state)
		}
	}
}
