// Package ovsdbtest starts OVSDB servers for tests: the real ovsdb-server on a
// unix socket in a directory of its own. It knows no schema.
package ovsdbtest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a database server that a test can stop and start again.
type Server struct {
	// Address is where it listens, the same after each start.
	Address string

	t    testing.TB
	dir  string
	stop func()
}

// New creates an empty database with a schema and serves it until the test ends. It
// skips the test if the schema's file is missing.
func New(t testing.TB, schema string) *Server {
	t.Helper()
	if _, err := os.Stat(schema); err != nil {
		t.Skipf("no OVN or Open vSwitch here (apt-get install ovn-central openvswitch-switch): %v", err)
	}
	//nolint:usetesting // a socket's path has at most 107 characters
	dir, err := os.MkdirTemp("", "ovsdbtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{Address: "unix:" + filepath.Join(dir, "db.sock"), t: t, dir: dir}
	Run(t, "ovsdb-tool", "create", s.Path("db"), schema)
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server, which must not run, and returns when it accepts
// connections.
func (s *Server) Start() {
	s.t.Helper()
	s.stop = Daemon(s.t, "ovsdb-server", "--remote=p"+s.Address, "--unixctl="+s.Path("ctl"), "--no-chdir",
		"-vconsole:off", "-vsyslog:off", s.Path("db"))
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

// Path returns the path of a file in the server's directory; "db" is the database.
func (s *Server) Path(name string) string { return filepath.Join(s.dir, name) }

// Daemon starts a program that ends with the test, even if the test is killed. stop
// ends it earlier; calling stop twice is no error.
func Daemon(t testing.TB, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, over := make(chan error, 1), make(chan struct{})
	go func() { // The kernel kills the program when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		<-over
	}()
	if err := <-started; err != nil {
		close(over)
		t.Fatal(err)
	}
	return func() {
		if cmd.ProcessState != nil {
			return
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		close(over)
	}
}

// Run runs a program and returns its output. It ends the test if the program fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
