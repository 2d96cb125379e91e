// Package ovsdb keeps a session with an OVSDB server: it connects, replicates
// tables, checks that the connection is alive, and connects again when it is lost.
// It knows no schema: the caller names the tables and gives the model. A session is
// one connection (session.go). A Keeper replaces a lost session with a new one
// (keeper.go). docs/decisions/0008 says why the library's own reconnecting is not
// used.
package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/retry"
)

// Options say which database a session connects to, and what it replicates.
type Options struct {
	// Database is the database's name in logs and errors: "the OVN northbound
	// database".
	Database string
	// Endpoints are the servers' addresses, "tcp:172.31.0.1:6641" or
	// "unix:/run/openvswitch/db.sock". The first one that answers is used.
	Endpoints []string
	// Model returns the tables and their indexes. A server whose schema lacks a
	// column of the model is refused.
	Model func() (model.ClientDBModel, error)
	// Columns are the columns to replicate, by table.
	Columns map[string][]string
	// Timeout bounds one attempt: connect, read the schema and the tables, and
	// Keeper.Open.
	Timeout time.Duration
	// Probe is how often an idle connection is checked, and how long the check
	// may take. 0 means never.
	Probe time.Duration
	// Backoff bounds the pauses between two attempts.
	Backoff retry.Backoff
	// Log may be nil.
	Log *slog.Logger
}

// ErrLost is the error of calls on a session whose connection is lost.
var ErrLost = errors.New("the connection to the database is lost")

// Session is one connection and the replica that came over it. Its methods may
// be called from any goroutine.
type Session struct {
	client client.Client
	tables map[string]*cache.RowCache
	lost   chan struct{} // closed when the connection is lost
}

// connect opens a session whose replica is complete.
func connect(ctx context.Context, o Options) (*Session, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	s := &Session{client: c, tables: map[string]*cache.RowCache{}, lost: make(chan struct{})}
	abort, listening := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.lost)
		// The client reports the loss once, and only if the channel is being read.
		close(listening)
		select {
		case <-c.DisconnectNotify():
		case <-abort:
		}
	}()
	<-listening
	if err := c.Connect(ctx); err != nil {
		close(abort)
		<-s.lost
		return nil, fmt.Errorf("connect to %s: %w", o.Database, err)
	}
	if err := s.replicate(ctx, o.Columns); err != nil {
		s.close()
		return nil, fmt.Errorf("read %s: %w", o.Database, err)
	}
	return s, nil
}

func newClient(o Options) (client.Client, error) {
	m, err := o.Model()
	if err != nil {
		return nil, fmt.Errorf("model of %s: %w", o.Database, err)
	}
	log := logr.FromSlogHandler(o.Log.Handler())
	options := []client.Option{client.WithLogger(&log)}
	for _, e := range o.Endpoints {
		options = append(options, client.WithEndpoint(e))
	}
	return client.NewOVSDBClient(m, options...)
}

// replicate reads the tables. The client's cache follows them from now on.
func (s *Session) replicate(ctx context.Context, columns map[string][]string) error {
	replica := s.client.Cache()
	if replica == nil { // the client drops it when the connection is lost
		return ErrLost
	}
	monitor := s.client.NewMonitor()
	for table, names := range columns {
		monitor.Tables = append(monitor.Tables, client.TableMonitor{Table: table, Fields: names})
		s.tables[table] = replica.Table(table)
	}
	_, err := s.client.Monitor(ctx, monitor)
	return err
}

// Table returns the replica of a table; nil if Options.Columns lacks the table. The
// replica can still be read when the connection is lost; it then stays as it was.
func (s *Session) Table(name string) *cache.RowCache { return s.tables[name] }

// OnChange makes the session call f for each change of the replica from now on, and
// perhaps for rows that it has already. before is nil for a new row, after for a
// deleted one. The calls come one after the other; f must not block.
func (s *Session) OnChange(f func(before, after model.Model)) error {
	replica := s.client.Cache()
	if replica == nil {
		return ErrLost
	}
	replica.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(_ string, row model.Model) { f(nil, row) },
		UpdateFunc: func(_ string, old, row model.Model) { f(old, row) },
		DeleteFunc: func(_ string, row model.Model) { f(row, nil) },
	})
	return nil
}

// Transact sends one transaction and returns the result of each operation. If the
// server refuses an operation, the result says so, not the error.
func (s *Session) Transact(ctx context.Context, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	return s.client.Transact(ctx, ops...)
}

// Endpoint returns the address of the server that the session is with.
func (s *Session) Endpoint() string { return s.client.CurrentEndpoint() }

// Alive returns false once the connection is lost.
func (s *Session) Alive() bool {
	select {
	case <-s.lost:
		return false
	default:
		return true
	}
}

// close ends the connection and waits until it has ended.
func (s *Session) close() {
	s.client.Close()
	<-s.lost
}

// watch returns when the connection is lost, a probe fails or ctx ends. The
// probe finds a server that vanished without closing the connection.
func (s *Session) watch(ctx context.Context, every time.Duration) {
	var probe <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		probe = ticker.C
	}
	for {
		select {
		case <-s.lost:
			return
		case <-ctx.Done():
			return
		case <-probe:
			if s.probe(ctx, every) != nil {
				return
			}
		}
	}
}

func (s *Session) probe(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.client.Echo(ctx)
}
