//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// meter has counters that only grow: seconds is the clock, guests and switches are the CPU seconds
// of the guests' QEMU and of the hosts' switches, and wire is the number of bytes on the second
// host's wire in both directions.
type meter struct{ seconds, guests, switches, wire float64 }

func (m meter) since(before meter) meter {
	return meter{m.seconds - before.seconds, m.guests - before.guests, m.switches - before.switches, m.wire - before.wire}
}

// meter reads the counters.
func (b *testbed) meter(t *testing.T) meter {
	t.Helper()
	m := meter{seconds: float64(time.Now().UnixMicro()) / 1e6, wire: b.wireBytes(t)}
	for i, h := range hosts {
		network := b.runOn(t, h, "readlink /proc/self/ns/net")
		for _, p := range processes(t, network) {
			switch {
			case p.name == "ovs-vswitchd":
				m.switches += p.seconds
			case strings.Contains(p.command, "\x00-name\x00"+guests[i]+"\x00"):
				m.guests += p.seconds
			}
		}
	}
	return m
}

// wireBytes returns the number of bytes on the second host's wire. It does not use the first host,
// which is also the gateway of the cloud.
func (b *testbed) wireBytes(t *testing.T) float64 {
	t.Helper()
	fields := strings.Fields(b.runOn(t, hosts[1], "grep eth0: /proc/net/dev"))
	if len(fields) < 10 {
		t.Fatalf("%s has no eth0", hosts[1])
	}
	return parseNumber(t, fields[1]) + parseNumber(t, fields[9])
}

type process struct {
	name, command string
	seconds       float64 // of CPU
}

// ticks is USER_HZ, the kernel's clock ticks per second in /proc.
const ticks = 100

// processes returns the processes in a network namespace.
func processes(t *testing.T, network string) []process {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var all []process
	for _, dir := range dirs {
		if at, err := os.Readlink(dir + "/ns/net"); err != nil || at != network {
			continue // the process is in another namespace, or has ended
		}
		if p, err := readProcess(dir); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// readProcess reads a process from its directory in /proc. The process's name may contain spaces
// and parentheses.
func readProcess(dir string) (process, error) {
	command, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return process{}, err
	}
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, err
	}
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	var user, system float64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return process{}, err
	}
	return process{string(text[begin+1 : end]), string(command), (user + system) / ticks}, nil
}
