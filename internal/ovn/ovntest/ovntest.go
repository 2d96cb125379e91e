// Package ovntest starts OVN's databases for tests: the real ovsdb-server,
// not a fake. It knows nothing of the rows that the tests write.
package ovntest

import (
	"encoding/json"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/ovsdb/ovsdbtest"
)

// Schemas as Debian's packages install them.
const (
	Northbound = "/usr/share/ovn/ovn-nb.ovsschema"
	Southbound = "/usr/share/ovn/ovn-sb.ovsschema"
	VSwitch    = "/usr/share/openvswitch/vswitch.ovsschema"
)

// Start serves an empty northbound database until the test ends. It returns the
// database's address, such as "unix:/tmp/.../db.sock".
func Start(t testing.TB) string {
	t.Helper()
	return New(t, Northbound).Address
}

// Server is a database server that a test can stop and start again.
type Server struct {
	*ovsdbtest.Server
	t testing.TB
}

// New creates an empty database with a schema and serves it until the test ends.
func New(t testing.TB, schema string) *Server {
	t.Helper()
	return &Server{ovsdbtest.New(t, schema), t}
}

// Northd runs ovn-northd between two databases until the test ends.
func Northd(t testing.TB, nb, sb *Server) {
	t.Helper()
	t.Cleanup(ovsdbtest.Daemon(t, "ovn-northd", "--ovnnb-db="+nb.Address, "--ovnsb-db="+sb.Address,
		"--unixctl="+nb.Path("northd"), "-vconsole:off", "-vsyslog:off"))
}

// Nbctl runs ovn-nbctl on the database and returns its output. It ends the test if
// the command fails.
func (s *Server) Nbctl(args ...string) string {
	s.t.Helper()
	return Run(s.t, "ovn-nbctl", append([]string{"--no-leader-only", "--db=" + s.Address}, args...)...)
}

// Run runs a program and returns its output. It ends the test if the program fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return ovsdbtest.Run(t, name, args...)
}

// Transact changes the database's file while no server uses it.
func (s *Server) Transact(ops ...any) {
	s.t.Helper()
	text, err := json.Marshal(append([]any{"OVN_Northbound"}, ops...))
	if err != nil {
		s.t.Fatal(err)
	}
	Run(s.t, "ovsdb-tool", "transact", s.Path("db"), string(text))
}
