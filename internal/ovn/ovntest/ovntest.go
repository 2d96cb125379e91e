// Package ovntest starts OVSDB servers for tests: the real ovsdb-server on a
// unix socket in the test's own directory, never a fake.
package ovntest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Schemas as Debian's packages install them.
const (
	Northbound = "/usr/share/ovn/ovn-nb.ovsschema"
	Southbound = "/usr/share/ovn/ovn-sb.ovsschema"
	VSwitch    = "/usr/share/openvswitch/vswitch.ovsschema"
)

// Start serves an empty northbound database until the test ends, and gives its
// address, such as "unix:/tmp/.../db.sock".
func Start(t testing.TB) string {
	t.Helper()
	return New(t, Northbound).Address
}

// Server is a database server that a test can stop and start again.
type Server struct {
	// Address is where it listens, the same after each start.
	Address string

	t    testing.TB
	dir  string
	stop func()
}

// New creates an empty database with a schema and serves it until the test ends.
func New(t testing.TB, schema string) *Server {
	t.Helper()
	if _, err := os.Stat(schema); err != nil {
		t.Skipf("no OVN or Open vSwitch on this machine (apt-get install ovn-central openvswitch-switch): %v", err)
	}
	// t.TempDir can be too long for a socket's path.
	dir, err := os.MkdirTemp("", "ovntest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{Address: "unix:" + filepath.Join(dir, "db.sock"), t: t, dir: dir}
	if out, err := exec.Command("ovsdb-tool", "create", s.path("db"), schema).CombinedOutput(); err != nil {
		t.Fatalf("create database: %v: %s", err, out)
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start serves the database, which must not be served.
func (s *Server) Start() {
	s.t.Helper()
	cmd := exec.Command("ovsdb-server", "--remote=p"+s.Address, "--unixctl="+s.path("ctl"), "--no-chdir",
		"-vconsole:off", "-vsyslog:off", s.path("db"))
	// With a pipe for the monitor the test would hang on an orphan, and
	// --detach needs a pid file: so ask the control socket when it is up.
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(strings.TrimPrefix(s.Address, "unix:"))
	}
}

// Stop kills the server; its database stays. Stopping twice is no error.
func (s *Server) Stop() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }
