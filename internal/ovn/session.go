package ovn

import (
	"context"
	"time"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovsdb"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

const (
	// connectTimeout is for all of: connect, read the schema, read the tables.
	connectTimeout = 60 * time.Second
	// probeInterval is how often an idle connection is checked.
	probeInterval = 10 * time.Second
	// The pauses between two attempts to connect.
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

// session is one connection with what is known over it: the replica, and the
// indexes that are kept up with it.
type session struct {
	*ovsdb.Session
	members  *members
	hosts    *hosts
	siblings *siblings
}

func (s *session) view() *view { return &view{session: s.Session} }

// keeper returns what keeps f connected.
func (f *Fabric) keeper(o Options) ovsdb.Keeper {
	return ovsdb.Keeper{
		Options: ovsdb.Options{
			Database: "the OVN northbound database", Endpoints: o.Addresses, Log: o.Log,
			Model:   func() (model.ClientDBModel, error) { return nbdb.Model(keyUnit, neutronNetwork) },
			Columns: nbdb.Columns(), Timeout: connectTimeout, Probe: probeInterval,
			Backoff: retry.Backoff{First: shortestPause, Longest: longestPause},
		},
		Open: f.open,
	}
}

// open makes a session the current one. What changed before it went unseen, so
// everything is looked at again.
func (f *Fabric) open(ctx context.Context, connection *ovsdb.Session) error {
	s := &session{Session: connection, members: newMembers(), hosts: newHosts(), siblings: newSiblings(f.owner)}
	if err := s.OnChange(func(was, is model.Model) { f.changed(s, was, is) }); err != nil {
		return err
	}
	s.hosts.read(s.view())
	s.siblings.read(s.view())
	if err := s.members.read(ctx, s, f.owner); err != nil {
		return err
	}
	f.last.Store(s)
	f.book.reopen(s.view().units(f.owner), s.view().routerNames(), s.view().portOwners())
	return nil
}
