//go:build bench

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// guests are the nodes of profile nested, and hosts the hosts of these virtual machines.
var (
	guests = [2]string{"worker1", "worker2"}
	hosts  = [2]string{"node1", "node2"}
)

// TestNested measures profile nested and prints a table for docs/benchmarks.md.
func TestNested(t *testing.T) {
	b := open(t, guests[0])
	var table strings.Builder
	b.head(t, &table)
	ends := b.createEndpoints(t)
	t.Run("pods", func(t *testing.T) { b.measureGuestPods(t, &table) })
	t.Run("traffic", func(t *testing.T) { b.measureTraffic(t, &table, ends) })
}

// measureGuestPods measures pods in a guest. A first burst creates the ports that the port pool
// needs later: ports of deleted pods return to it.
func (b *testbed) measureGuestPods(t *testing.T, table *strings.Builder) {
	const most = 10
	b.burst(t, first, most)
	begin := time.Now()
	for _, n := range []int{1, most} {
		for _, w := range []podNetwork{host, warm, cold} {
			t.Run(fmt.Sprintf("%d pods, %s", n, w), func(t *testing.T) { b.measurePods(t, table, w, n) })
		}
	}
	b.addRequestRows(t, table, begin)
	row(table, "the agent in the guest, resident, MiB", "%.1f", []float64{b.resident(t)})
}

// measureTraffic measures both network paths alternately, so that other load on the machine
// affects both.
func (b *testbed) measureTraffic(t *testing.T, table *strings.Builder, ends pair) {
	paths := []networkPath{{"on the trunk", ends[1].address}, {"in an overlay of the guests", b.overlay(t, ends)}}
	seen := map[string][]measurement{}
	for range b.runs {
		idle := b.idleLoad(t)
		for _, r := range paths {
			seen[r.name] = append(seen[r.name], b.measurePath(t, r.address, idle))
		}
	}
	for _, f := range figures {
		for _, r := range paths {
			row(table, f.what+" "+r.name+", "+f.unit, f.format, each(seen[r.name], f.of))
		}
	}
}

func each(all []measurement, of func(measurement) float64) []float64 {
	var out []float64
	for _, p := range all {
		out = append(out, of(p))
	}
	return out
}

// figures are the table's rows about traffic.
var figures = []struct {
	what, unit, format string
	of                 func(measurement) float64
}{
	{"TCP", "MB/s", "%.2f", func(p measurement) float64 { return p.rate }},
	{"round trip, median of 100,", "ms", "%.2f", func(p measurement) float64 { return p.trip }},
	{"round trip, 99th of 100,", "ms", "%.2f", func(p measurement) float64 { return p.tail }},
	{"on the hosts' wire for each byte of payload", "bytes", "%.3f", func(p measurement) float64 { return p.wire }},
	{"around each packet of a pod", "bytes", "%.0f", func(p measurement) float64 { return p.overhead }},
	{"the guests' QEMU for each MB", "ms of CPU", "%.0f", func(p measurement) float64 { return p.guests }},
	{"the hosts' switches for each MB", "ms of CPU", "%.0f", func(p measurement) float64 { return p.switches }},
}
