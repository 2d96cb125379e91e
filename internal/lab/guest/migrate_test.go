package guest

import (
	"net/netip"
	"strings"
	"testing"
)

// testMigration migrates the running guest to a QEMU that must refuse it, and then to a
// fitting one.
func testMigration(t *testing.T, c Config, m machine, enter func(...string) []string) {
	run(t, enter("ip", "tuntap", "add", "dev", "tap1", "mode", "tap")...)
	run(t, enter("ip", "link", "set", "tap1", "up")...)
	execute(t, c, "echo kept > /run/kept")
	at := Host{Name: "elsewhere", Addr: netip.MustParseAddr("127.0.0.1")}
	there := m
	there.nic.TAP = "tap1"
	small := there
	small.memory /= 2
	if err := (migration{c}).send(t.Context(), m, migration{c}.receiver(small, at, enter), at.Addr); err == nil || !strings.Contains(err.Error(), "migration failed") {
		t.Errorf("to a QEMU that cannot take it: %v", err)
	}
	if got := execute(t, c, "cat /run/kept"); got != "kept\n" {
		t.Errorf("after a migration that failed it says %q", got)
	}
	before, _ := c.Supervisor.Running(ComponentName(m.name))
	arrival := migration{c}.receiver(there, at, enter)
	if err := (migration{c}).send(t.Context(), m, arrival, at.Addr); err != nil {
		t.Fatal(err)
	}
	if err := (migration{c}).takeOver(t.Context(), m, arrival, enter); err != nil {
		t.Fatal(err)
	}
	if got := execute(t, c, "cat /run/kept"); got != "kept\n" {
		t.Errorf("after the migration it says %q", got)
	}
	after, _ := c.Supervisor.Running(ComponentName(m.name))
	if err := c.Supervisor.Ensure(t.Context(), c.component(m, enter)); err != nil {
		t.Fatal(err)
	}
	if now, _ := c.Supervisor.Running(ComponentName(m.name)); before.Alive() || now != after || now == before {
		t.Errorf("it ran as %v, then as %v, and now as %v", before, after, now)
	}
}
