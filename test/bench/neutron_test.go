//go:build bench

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNeutron measures profile neutron and prints a table for docs/benchmarks.md.
func TestNeutron(t *testing.T) {
	b := open(t, "node1")
	was := b.settings(t)
	t.Cleanup(func() { b.configure(t, was) })
	b.startDemoPod(t, "client") // the first pod on a node creates its port pool
	server := b.startDemoPod(t, "server")
	var table strings.Builder
	b.head(t, &table)
	t.Run("refill", func(t *testing.T) { b.measureRefill(t, &table) })
	for _, n := range []int{1, 10, 30} {
		for _, w := range []podNetwork{host, warm, cold} {
			t.Run(fmt.Sprintf("%d pods, %s", n, w), func(t *testing.T) { b.measurePods(t, &table, w, n) })
		}
	}
	t.Run("service", func(t *testing.T) { b.measureService(t, &table) })
	t.Run("policy", func(t *testing.T) { b.measurePolicy(t, &table, server) })
}

func (b *testbed) measureRefill(t *testing.T, table *strings.Builder) {
	var pool, loop, share []float64
	b.pool(t, map[string]any{"min": batch * batches, "max": 2 * batch * batches, "batch": batch})
	b.until(t, 5*time.Minute, "the pool is not filled", func() bool { return b.ready(t) >= batch*batches })
	for range b.runs {
		b.waitIdle(t)
		loop = append(loop, b.bareCreateRate(t))
		pool = append(pool, b.refillRate(t))
		share = append(share, 100*pool[len(pool)-1]/loop[len(loop)-1])
	}
	row(table, "a bare loop of creates, ports/s", "%.2f", loop)
	row(table, "the pool is filled, ports/s", "%.2f", pool)
	row(table, "the pool's share of the loop, %", "%.0f", share)
}

var named = map[podNetwork]string{
	host: "on their node's network: the kubelet's own share", warm: "with a port of the pool", cold: "without one",
}

func (b *testbed) measurePods(t *testing.T, table *strings.Builder, w podNetwork, n int) {
	var took, path, background []float64
	for range b.runs {
		one, waited, behind := b.burst(t, w, n)
		took, path, background = append(took, one.Seconds()), append(path, waited), append(background, behind)
	}
	row(table, fmt.Sprintf("%d pods at once %s: created → all Ready, s", n, named[w]), "%.2f", took)
	if w != host {
		row(table, "calls to OpenStack for each that it waits for", "%.2f", path)
		row(table, "calls to OpenStack for each in the background", "%.2f", background)
	}
}

func (b *testbed) measureService(t *testing.T, table *strings.Builder) {
	var took []float64
	for range b.runs {
		b.waitIdle(t)
		took = append(took, b.service(t).Seconds())
	}
	row(table, "Service created → first answer, s", "%.2f", took)
}

func (b *testbed) measurePolicy(t *testing.T, table *strings.Builder, server string) {
	var closed, opened []time.Duration
	for range b.runs {
		b.waitIdle(t)
		shut, open := b.policy(t, server)
		closed, opened = append(closed, shut), append(opened, open)
	}
	row(table, "NetworkPolicy created → enforced, s", "%.2f", seconds(closed))
	row(table, "NetworkPolicy deleted → open, s", "%.2f", seconds(opened))
}

// head writes the table's head and prints the table when the test ends.
func (b *testbed) head(t *testing.T, table *strings.Builder) {
	fmt.Fprintf(table, "| | median of %d | all |\n|---|--:|---|\n", b.runs)
	t.Cleanup(func() { fmt.Print("\n", table.String(), "\n") })
}

func seconds(all []time.Duration) []float64 {
	var out []float64
	for _, d := range all {
		out = append(out, d.Seconds())
	}
	return out
}

// row adds a row with the median and all values. It also prints the row at once.
func row(table *strings.Builder, what, format string, all []float64) {
	var each []string
	for _, v := range all {
		each = append(each, fmt.Sprintf(format, v))
	}
	line := fmt.Sprintf("| %s | "+format+" | %s |\n", what, median(all), strings.Join(each, " "))
	table.WriteString(line)
	fmt.Print(line)
}
