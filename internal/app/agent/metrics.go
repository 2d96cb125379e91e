package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// Metrics of one agent.
type Metrics struct {
	requests        *prometheus.HistogramVec
	switchConnected prometheus.Gauge
}

// NewMetrics makes the metrics of an agent in that mode and registers them with r. An
// agent without a switch has no metric of the switch's connection: it would always be 0.
func NewMetrics(r prometheus.Registerer, mode plug.Mode) *Metrics {
	m := &Metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "isthmus_cni_duration_seconds",
			Help:    "Duration of requests of the CNI plugin, by verb and outcome: ok, retry or error.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"verb", "outcome"}),
		switchConnected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_ovs_connected",
			Help: "1 while the agent is connected to the node's Open_vSwitch database, else 0.",
		}),
	}
	r.MustRegister(m.requests)
	if mode == plug.OVS {
		r.MustRegister(m.switchConnected)
	}
	return m
}

// observe counts a request. failure is nil if the request succeeded.
func (m *Metrics) observe(v cniwire.Verb, failure *cniwire.Error, took time.Duration) {
	outcome := "ok"
	if failure != nil {
		outcome = "error"
		if failure.Code == cniwire.CodeTryAgainLater {
			outcome = "retry"
		}
	}
	m.requests.WithLabelValues(string(v), outcome).Observe(took.Seconds())
}

func (m *Metrics) setSwitchConnected(connected bool) {
	value := 0.0
	if connected {
		value = 1
	}
	m.switchConnected.Set(value)
}
