package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-cni/isthmus/internal/cniwire"
)

// Metrics of one agent.
type Metrics struct {
	cni       *prometheus.HistogramVec
	connected *prometheus.GaugeVec
}

// NewMetrics registers them with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		cni: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "isthmus_cni_seconds",
			Help:    "Time that a request of the CNI plugin took, by verb and outcome: ok, again or error.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"verb", "outcome"}),
		connected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "isthmus_connected",
			Help: "1 while the database answers: ovs is the node's own Open vSwitch.",
		}, []string{"db"}),
	}
	r.MustRegister(m.cni, m.connected)
	return m
}

func (m *Metrics) asked(v cniwire.Verb, failure *cniwire.Error, took time.Duration) {
	outcome := "ok"
	if failure != nil {
		outcome = "error"
		if failure.Code == cniwire.CodeTryAgainLater {
			outcome = "again"
		}
	}
	m.cni.WithLabelValues(string(v), outcome).Observe(took.Seconds())
}

func (m *Metrics) setConnected(db string, is bool) {
	value := 0.0
	if is {
		value = 1
	}
	m.connected.WithLabelValues(db).Set(value)
}
