package ovsdb_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/ovn-kubernetes/libovsdb/model"
	libovsdb "github.com/ovn-kubernetes/libovsdb/ovsdb"
	"go.uber.org/goleak"

	"github.com/isthmus-cni/isthmus/internal/ovsdb"
	"github.com/isthmus-cni/isthmus/internal/ovsdb/ovsdbtest"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type item struct {
	UUID string `ovsdb:"_uuid"`
	Name string `ovsdb:"name"`
	Size int    `ovsdb:"size"`
}

func itemModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel("Items", map[string]model.Model{"Item": &item{}})
}

func serve(t *testing.T) *ovsdbtest.Server {
	t.Helper()
	return ovsdbtest.New(t, "testdata/items.ovsschema")
}

// follower collects the sessions, changes and losses of a Keeper.
type follower struct {
	ovsdb.Keeper
	opened  chan *ovsdb.Session
	lost    chan struct{}
	changed chan [2]string // the names before and after
}

func follow(address string) *follower {
	f := &follower{opened: make(chan *ovsdb.Session, 100), lost: make(chan struct{}, 100), changed: make(chan [2]string, 100)}
	f.Keeper = ovsdb.Keeper{
		Options: ovsdb.Options{
			Database: "the test's database", Endpoints: []string{address}, Model: itemModel,
			Columns: map[string][]string{"Item": {"name", "size"}}, Timeout: 10 * time.Second,
			Backoff: retry.Backoff{First: time.Millisecond, Longest: 20 * time.Millisecond},
		},
		Open: func(_ context.Context, s *ovsdb.Session) error {
			f.opened <- s
			return s.OnChange(func(before, after model.Model) { f.changed <- [2]string{name(before), name(after)} })
		},
		Lost: func() { f.lost <- struct{}{} },
	}
	return f
}

func name(m model.Model) string {
	if r, ok := m.(*item); ok {
		return r.Name
	}
	return ""
}

// start dials and keeps the session until the test ends.
func (f *follower) start(t *testing.T) *ovsdb.Session {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := f.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); f.Stay(ctx, s) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func insert(name string) libovsdb.Operation {
	return libovsdb.Operation{Op: libovsdb.OperationInsert, Table: "Item", Row: libovsdb.Row{"name": name, "size": 1}}
}

func byName(name string) []libovsdb.Condition {
	return []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, name)}
}

func transact(t *testing.T, s *ovsdb.Session, op libovsdb.Operation) {
	t.Helper()
	results, err := s.Transact(t.Context(), op)
	if err == nil {
		_, err = libovsdb.CheckOperationResults(results, []libovsdb.Operation{op})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestReplicaFollowsTheDatabase(t *testing.T) {
	s := follow(serve(t).Address).start(t)
	transact(t, s, insert("a"))
	f := follow(s.Endpoint())
	second := f.start(t)
	if rows := second.Table("Item").RowsShallow(); len(rows) != 1 {
		t.Fatalf("the replica has %d rows when the session opens, want 1", len(rows))
	}
	if second.Table("Port") != nil {
		t.Error("a table that is not replicated has a replica")
	}
	transact(t, s, libovsdb.Operation{Op: libovsdb.OperationUpdate, Table: "Item", Where: byName("a"), Row: libovsdb.Row{"name": "b"}})
	transact(t, s, libovsdb.Operation{Op: libovsdb.OperationDelete, Table: "Item", Where: byName("b")})
	change := next(t, f.changed)
	if change == [2]string{"", "a"} { // the row that was there at first may be reported, too
		change = next(t, f.changed)
	}
	if want := [2]string{"a", "b"}; change != want {
		t.Errorf("change %v, want %v", change, want)
	}
	if change, want := next(t, f.changed), [2]string{"b", ""}; change != want {
		t.Errorf("change %v, want %v", change, want)
	}
	if !second.Alive() {
		t.Error("the session is not alive")
	}
}

func TestANewSessionFollowsALostOne(t *testing.T) {
	server := serve(t)
	f := follow(server.Address)
	first := f.start(t)
	if next(t, f.opened) != first {
		t.Error("Dial returned another session than Open was called with")
	}
	transact(t, first, insert("a"))
	server.Stop()
	next(t, f.lost)
	if first.Alive() {
		t.Error("the lost session is alive")
	}
	if rows := first.Table("Item").RowsShallow(); len(rows) != 1 {
		t.Errorf("%d rows in the lost session's replica, want 1", len(rows))
	}
	if _, err := first.Transact(t.Context(), insert("b")); err == nil {
		t.Error("a transaction on the lost session succeeded")
	}
	server.Start()
	second := next(t, f.opened)
	if second == first || !second.Alive() {
		t.Error("the second session is the first one, or is not alive")
	}
	if rows := second.Table("Item").RowsShallow(); len(rows) != 1 {
		t.Errorf("%d rows in the new session's replica, want 1", len(rows))
	}
}

func TestASessionThatOpenRefusesIsTriedAgain(t *testing.T) {
	f := follow(serve(t).Address)
	open, calls := f.Open, 0
	f.Open = func(ctx context.Context, s *ovsdb.Session) error {
		if calls++; calls < 3 {
			return errors.New("not this one")
		}
		return open(ctx, s)
	}
	if s := f.start(t); calls != 3 || next(t, f.opened) != s {
		t.Errorf("%d calls of Open, want 3", calls)
	}
}

// The probe ends a session whose server accepts connections but sends no answer.
func TestProbeEndsSilentSession(t *testing.T) {
	server := serve(t)
	silent := make(chan struct{})
	proxy := proxyTo(t, server.Address, silent)
	f := follow(proxy)
	f.Probe = 50 * time.Millisecond
	f.start(t)
	close(silent)
	next(t, f.lost)
}

// proxyTo forwards connections to a server until silent is closed; then it
// keeps them open and forwards nothing.
func proxyTo(t *testing.T, address string, silent <-chan struct{}) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go forward(c, address, silent)
		}
	}()
	return "unix:" + path
}

func forward(c net.Conn, address string, silent <-chan struct{}) {
	defer c.Close()
	server, err := net.Dial("unix", address[len("unix:"):])
	if err != nil {
		return
	}
	defer server.Close()
	answered := make(chan struct{})
	go func() { defer close(answered); copyUntilSilent(c, server, silent) }()
	copyUntilSilent(server, c, silent)
	server.Close()
	<-answered
}

// copyUntilSilent copies until from ends. After silent is closed, it drops what it reads.
func copyUntilSilent(to, from net.Conn, silent <-chan struct{}) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-silent:
		default:
			_, _ = to.Write(buffer[:n])
		}
	}
}

func TestDialSaysWhyThereIsNoSession(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := follow("unix:/nonexistent/db.sock").Dial(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err %v, want the deadline and the missing socket", err)
	}
}

// Dial refuses a server whose schema lacks a column of the model.
func TestSchemaWithoutAColumn(t *testing.T) {
	type other struct {
		UUID  string `ovsdb:"_uuid"`
		Color string `ovsdb:"color"`
	}
	f := follow(serve(t).Address)
	f.Model = func() (model.ClientDBModel, error) {
		return model.NewClientDBModel("Items", map[string]model.Model{"Item": &other{}})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := f.Dial(ctx); err == nil {
		t.Error("the session opened with a model that does not fit the schema")
	}
}
