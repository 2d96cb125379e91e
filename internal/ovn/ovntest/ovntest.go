// Package ovntest starts OVSDB servers for tests: the real ovsdb-server on a
// unix socket in a directory of the test's own, never a fake. It knows nothing
// of what the tests write.
package ovntest

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
		t.Skipf("no OVN or Open vSwitch here (apt-get install ovn-central openvswitch-switch): %v", err)
	}
	// Not t.TempDir: a socket's path has at most 107 characters.
	dir, err := os.MkdirTemp("", "ovntest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{Address: "unix:" + filepath.Join(dir, "db.sock"), t: t, dir: dir}
	Run(t, "ovsdb-tool", "create", s.path("db"), schema)
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start serves the database, which must not be served, and returns when it
// can be connected to.
func (s *Server) Start() {
	s.t.Helper()
	s.stop = start(s.t, "ovsdb-server", "--remote=p"+s.Address, "--unixctl="+s.path("ctl"), "--no-chdir",
		"-vconsole:off", "-vsyslog:off", s.path("db"))
	socket := strings.TrimPrefix(s.Address, "unix:")
	for range 2000 {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	s.t.Fatalf("ovsdb-server does not listen on %s", socket)
}

// Stop kills the server; its database stays. Stopping twice is no error.
func (s *Server) Stop() {
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	_ = os.Remove(strings.TrimPrefix(s.Address, "unix:"))
}

// Northd runs ovn-northd between two databases until the test ends.
func Northd(t testing.TB, nb, sb *Server) {
	t.Helper()
	t.Cleanup(start(t, "ovn-northd", "--ovnnb-db="+nb.Address, "--ovnsb-db="+sb.Address,
		"--unixctl="+nb.path("northd"), "-vconsole:off", "-vsyslog:off"))
}

// Nbctl runs ovn-nbctl on the database and gives what it prints.
func (s *Server) Nbctl(args ...string) string {
	s.t.Helper()
	return Run(s.t, "ovn-nbctl", append([]string{"--no-leader-only", "--db=" + s.Address}, args...)...)
}

// Run runs a program that must succeed and gives what it prints.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// start runs a daemon that dies with the test, even with a killed one.
func start(t testing.TB, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// Transact changes the database while it is not served.
func (s *Server) Transact(ops ...any) {
	s.t.Helper()
	text, err := json.Marshal(append([]any{"OVN_Northbound"}, ops...))
	if err != nil {
		s.t.Fatal(err)
	}
	Run(s.t, "ovsdb-tool", "transact", s.path("db"), string(text))
}
