package ovn

import (
	"context"
	"fmt"
	"time"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

const (
	// connectTimeout is for all of: connect, read the schema, read the tables.
	connectTimeout = 60 * time.Second
	// probeInterval is how often an idle connection is proved to be alive, and
	// how long the proof may take.
	probeInterval = 10 * time.Second
)

// session is one connection and the replica that came over it. A new
// connection is a new session: nothing of the old one is believed.
//
// The client's own reconnecting is not used: it keeps a replica without saying
// which rows went meanwhile, and cannot be stopped while it tries.
type session struct {
	client   client.Client
	tables   map[string]*cache.RowCache
	members  *members
	hosts    *hosts
	siblings *siblings
	// gone is closed when the connection is lost.
	gone chan struct{}
}

func (s *session) view() *view { return &view{tables: s.tables} }

func (s *session) alive() bool {
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

// connect opens a session whose replica is complete. Each later change is
// told to the handler that h makes.
func connect(ctx context.Context, o Options, h func(*session) cache.EventHandler) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	m, err := nbdb.Model(keyUnit, neutronNetwork)
	if err != nil {
		return nil, err
	}
	var options []client.Option
	for _, a := range o.Addresses {
		options = append(options, client.WithEndpoint(a))
	}
	c, err := client.NewOVSDBClient(m, options...)
	if err != nil {
		return nil, err
	}
	s := &session{client: c, tables: map[string]*cache.RowCache{}, gone: make(chan struct{}), members: newMembers(), hosts: newHosts(), siblings: newSiblings(o.Owner)}
	never := make(chan struct{})
	go func() { // the client tells it once, and only to who listens already
		defer close(s.gone)
		select {
		case <-c.DisconnectNotify():
		case <-never:
		}
	}()
	if err := c.Connect(ctx); err != nil {
		close(never)
		return nil, fmt.Errorf("connect to OVN's northbound database: %w", err)
	}
	if err := s.load(ctx, o.Owner, h(s)); err != nil {
		s.close()
		return nil, fmt.Errorf("read OVN's northbound database: %w", err)
	}
	return s, nil
}

func (s *session) load(ctx context.Context, owner string, h cache.EventHandler) error {
	replica := s.client.Cache()
	if replica == nil {
		return errNotConnected
	}
	monitor := s.client.NewMonitor()
	for table, columns := range nbdb.Columns() {
		monitor.Tables = append(monitor.Tables, client.TableMonitor{Table: table, Fields: columns})
	}
	if _, err := s.client.Monitor(ctx, monitor); err != nil {
		return err
	}
	for _, t := range tables {
		s.tables[t] = replica.Table(t)
	}
	replica.AddEventHandler(h)
	s.hosts.read(s.view())
	s.siblings.read(s.view())
	return s.members.read(ctx, s, owner)
}

// close ends the connection and waits until it has.
func (s *session) close() {
	s.client.Close()
	<-s.gone
}

// watch returns when the connection is lost or ctx ends. A connection that
// says nothing is asked: a peer that vanished does not close it.
func (s *session) watch(ctx context.Context) {
	probe := time.NewTicker(probeInterval)
	defer probe.Stop()
	for {
		select {
		case <-s.gone:
			return
		case <-ctx.Done():
			return
		case <-probe.C:
			if s.probe(ctx) != nil {
				return
			}
		}
	}
}

func (s *session) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeInterval)
	defer cancel()
	return s.client.Echo(ctx)
}
