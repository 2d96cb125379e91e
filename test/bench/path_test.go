//go:build bench

package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// networkPath is a path from the first pod to the second: its name, and the second pod's address
// on it.
type networkPath struct{ name, address string }

// measurement is the result for one network path in one run.
type measurement struct {
	rate             float64 // MB/s
	trip, tail       float64 // ms
	wire, overhead   float64 // bytes
	guests, switches float64 // ms of CPU for each MB
}

// measurePath makes the first pod fetch the file and ping, and returns the measurement. It subtracts
// the consumption of the idle machine.
func (b *testbed) measurePath(t *testing.T, address string, idle meter) measurement {
	t.Helper()
	begin := b.meter(t)
	took := b.fetchSeconds(t, address)
	spent := b.meter(t).since(begin)
	const bytes = payload * 1e6
	trips := b.roundTrips(t, address)
	return measurement{
		rate: payload / took,
		trip: percentile(trips, 50), tail: percentile(trips, 99),
		wire:     (spent.wire - idle.wire*spent.seconds) / bytes,
		overhead: b.overhead(t, address),
		guests:   1000 * (spent.guests - idle.guests*spent.seconds) / payload,
		switches: 1000 * (spent.switches - idle.switches*spent.seconds) / payload,
	}
}

// idleLoad returns the consumption of the idle machine per second.
func (b *testbed) idleLoad(t *testing.T) meter {
	t.Helper()
	begin := b.meter(t)
	time.Sleep(10 * time.Second)
	spent := b.meter(t).since(begin)
	return meter{1, spent.guests / spent.seconds, spent.switches / spent.seconds, spent.wire / spent.seconds}
}

// runInFirst runs a script in the first pod and returns its output.
func (b *testbed) runInFirst(t *testing.T, script string) string {
	t.Helper()
	return b.run(t, "kubectl", "-n", namespace, "exec", podName(guests[0]), "--", "sh", "-c", script)
}

// fetchSeconds returns the time of the file's transfer in seconds.
func (b *testbed) fetchSeconds(t *testing.T, address string) float64 {
	t.Helper()
	text := b.runInFirst(t, fmt.Sprintf("time -p wget -q -O /dev/null http://%s/file 2>&1", address))
	for line := range strings.Lines(text) {
		if number, is := strings.CutPrefix(strings.TrimSpace(line), "real "); is {
			return parseNumber(t, number)
		}
	}
	t.Fatalf("%s gives no file: %s", address, text)
	return 0
}

var roundTrip = regexp.MustCompile(`time=([0-9.]+) ms`)

// roundTrips returns 100 round-trip times in ms. It first sends other pings, which resolve addresses.
func (b *testbed) roundTrips(t *testing.T, address string) []float64 {
	t.Helper()
	b.until(t, time.Minute, address+" does not answer", func() bool {
		return b.Command(t.Context(), "kubectl", "-n", namespace, "exec", podName(guests[0]), "--", "ping", "-q", "-c", "3", address).Run() == nil
	})
	var all []float64
	for _, m := range roundTrip.FindAllStringSubmatch(b.runInFirst(t, "ping -c 100 -i 0.05 "+address), -1) {
		all = append(all, parseNumber(t, m[1]))
	}
	if len(all) == 0 {
		t.Fatalf("%s does not answer", address)
	}
	return all
}

var frame = regexp.MustCompile(`length (\d+): .*\.6081: Geneve`)

// overhead returns the number of bytes that all layers below add on the wire to each IP packet of
// a pod.
func (b *testbed) overhead(t *testing.T, address string) float64 {
	t.Helper()
	const data, packet = 1000, 1000 + 8 + 20
	ping := b.lines(t, "kubectl", "-n", namespace, "exec", podName(guests[0]), "--", "ping", "-q", "-c", "60", "-i", "0.1", "-s", fmt.Sprint(data), address)
	seen := b.runOn(t, hosts[1], fmt.Sprintf("timeout 30 tcpdump -neti eth0 -c 20 'udp dst port 6081 and greater %d and less %d'", packet, packet+300))
	for range ping { // until ping has ended
	}
	var all []float64
	for _, m := range frame.FindAllStringSubmatch(seen, -1) {
		all = append(all, parseNumber(t, m[1])-packet)
	}
	if len(all) == 0 {
		t.Fatalf("no ping is seen on the wire:\n%s", seen)
	}
	return median(all)
}

func parseNumber(t *testing.T, text string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
