// Package ovn makes intents true in OVN's northbound database, which Neutron and
// others write to as well. It knows OVN's tables, which rows are ours and how to
// change them in as few transactions as possible; it knows nothing of
// Kubernetes, and never writes NB_Global or the southbound database.
//
//	intent.Want ──rows.Translate──▶ rows ──rows.Diff──▶ plan ──committer──▶ OVN NB
//	                  (pure)                 (pure)                           │
//	     Notify ◀── watcher ◀── replica ◀── ovsdb.Session ◀───────────────────┘
//
// Read apply.go first: it has the way of one unit from left to right.
package ovn

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// Options of a Fabric.
type Options struct {
	// Owner is the cluster's name; it marks our rows: external_ids:isthmus-owner.
	Owner string
	// Addresses are the northbound database's, "tcp:172.31.0.1:6641". Any
	// member of a cluster will do.
	Addresses []string
	// Log may be nil.
	Log *slog.Logger
}

// Fabric is the northbound database as one cluster uses it. Its methods may be
// called from any goroutine.
type Fabric struct {
	cluster   string
	committer *committer
	watcher   *watcher
	last      atomic.Pointer[session] // not nil once Dial has returned
	stop      context.CancelFunc
	ended     <-chan struct{}
	tasks     sync.WaitGroup
}

// Router is a logical router, ours or another's.
type Router struct {
	Name string
	Ours bool
	// Interfaces has one entry for each network of each router port, sorted.
	Interfaces []RouterInterface
	// Networks are the names of the switches that its ports lead to, sorted.
	Networks []string
	// MTU is the smallest that Neutron records for one of Networks; 0 if none.
	MTU int
}

// RouterInterface is a network of a router port.
type RouterInterface struct {
	// Prefix is the network, without the router's own address.
	Prefix        netip.Prefix
	Network, Port string
	Ours          bool
}

// Notify has the calls for changes that others make in the database. They come
// from one goroutine and must not block.
type Notify struct {
	// Unit is called when somebody else has changed or removed rows of the unit,
	// when a row that it refers to or waits for has changed, and when a port of
	// it that has a parent port has come up.
	Unit func(intent.Unit)
	// Router is called when a router has appeared, changed or gone; also once for
	// each router that exists at first.
	Router func(name string)
	// ParentKey is called when ParentCandidates may return other ports for a key than
	// before; with an empty key when it may for any key.
	ParentKey func(key string)
	// SubportUp is called when a subport of somebody else's has come up.
	SubportUp func(port string)
}

// PortNotUp is the Wait's reason of a unit whose port is not up yet.
const PortNotUp = "PortNotUp"

// NoVLAN is the Wait's reason of a unit whose port gets no VLAN id behind its
// parent port, since all are in use.
const NoVLAN = rows.NoVLAN

var errNotConnected = errors.New("the OVN northbound database is not connected")

// Dial connects, and keeps the Fabric connected until ctx ends or Close is
// called. It returns when the first connection stands; its error says why there
// was none until ctx ended.
func Dial(ctx context.Context, o Options) (*Fabric, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &Fabric{cluster: o.Owner, stop: cancel, ended: ctx.Done()}
	f.committer = newCommitter(f.current, o.Log)
	f.watcher = newWatcher(f.current)
	k := f.keeper(o)
	s, err := k.Dial(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	f.tasks.Go(func() { k.Stay(ctx, s) })
	f.tasks.Go(func() { f.committer.run(ctx) })
	f.tasks.Go(func() { f.watcher.run(ctx) })
	return f, nil
}

// Close ends the connection and waits for all that Dial started.
func (f *Fabric) Close() {
	f.stop()
	f.tasks.Wait()
}

// Connected returns whether the database is connected now.
func (f *Fabric) Connected() bool { return f.current().Alive() }

// Watch sets who is notified. It is also notified of what has changed since Dial.
func (f *Fabric) Watch(n Notify) { f.watcher.watch(n) }

// current returns the last session, which may be lost. Its replica is readable
// nevertheless.
func (f *Fabric) current() *session { return f.last.Load() }
