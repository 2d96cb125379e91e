package unit

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Metrics measures the runs of units. A nil Metrics measures nothing.
type Metrics struct {
	seconds *prometheus.HistogramVec
	changes *prometheus.CounterVec
	waiting *prometheus.GaugeVec

	mu sync.Mutex
	// reasons are the reasons of the units that are waiting or stopped now.
	reasons map[intent.Unit]string
}

// NewMetrics returns metrics that are registered with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "isthmus_apply_duration_seconds", Help: "Time to make the network what a unit asks for.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"kind", "outcome"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_changes_total", Help: "Rows changed in the network.",
		}, []string{"kind"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "isthmus_units_waiting", Help: "Units that wait for something or were refused, by reason.",
		}, []string{"kind", "reason"}),
		reasons: map[intent.Unit]string{},
	}
	r.MustRegister(m.seconds, m.changes, m.waiting)
	return m
}

func (m *Metrics) observe(kind string, name intent.Unit, o Outcome, took time.Duration) {
	if m == nil {
		return
	}
	m.seconds.WithLabelValues(kind, string(o.State)).Observe(took.Seconds())
	m.changes.WithLabelValues(kind).Add(float64(o.Observed.Changed))
	reason := ""
	if o.State == Waiting || o.State == Stopped {
		reason = o.Reason
	}
	m.setReason(kind, name, reason)
}

func (m *Metrics) setReason(kind string, name intent.Unit, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.reasons[name]; old != "" {
		m.waiting.WithLabelValues(kind, old).Dec()
	}
	delete(m.reasons, name)
	if reason != "" {
		m.reasons[name] = reason
		m.waiting.WithLabelValues(kind, reason).Inc()
	}
}
