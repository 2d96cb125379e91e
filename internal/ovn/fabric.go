// Package ovn makes intents true in OVN's northbound database, which Neutron and
// others write to as well. It knows OVN's tables, which rows are ours and how to
// change them in as few transactions as possible; it knows nothing of
// Kubernetes, and never writes NB_Global or the southbound database.
//
//	intent.Want ──rows.Translate──▶ rows ──rows.Diff──▶ plan ──committer──▶ OVN NB
//	                  (pure)                 (pure)                           │
//	     Notify ◀── watcher ◀── replica ◀── ovsdb.Session ◀───────────────────┘
//
// Read apply.go first: it follows one unit from left to right.
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
	// Addresses are those of the northbound database: "tcp:172.31.0.1:6641".
	// Any member of a cluster of databases works.
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

// Router is a logical router, whoever owns it.
type Router struct {
	Name string
	Ours bool
	// Interfaces has one entry for each network of each router port, sorted.
	Interfaces []RouterInterface
	// Networks are the names of the switches that its ports lead to, sorted.
	Networks []string
	// MTU is the smallest that Neutron records for one of Networks, in bytes; 0 if
	// none.
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
	// Unit is called when another client has changed or removed rows of the unit,
	// when a row that the unit refers to or waits for has changed, and when one of
	// its ports that has a parent port has come up.
	Unit func(intent.Unit)
	// Router is called when a router was added, changed or deleted, and once for
	// each router that exists at the start.
	Router func(name string)
	// ParentKey is called when ParentCandidates may return other ports for a key than
	// before. An empty key means any key.
	ParentKey func(key string)
	// SubportUp, which may be nil, is called when a subport that is not ours has come
	// up.
	SubportUp func(port string)
}

// PortNotUp is the Wait's reason of a unit whose port is not up yet.
const PortNotUp = "PortNotUp"

// NoVLAN is the Wait's reason of a unit whose port gets no VLAN id, because all ids
// behind its parent port are in use.
const NoVLAN = rows.NoVLAN

var errNotConnected = errors.New("the OVN northbound database is not connected")

// Dial returns a Fabric when the first connection is open, and keeps it connected
// until ctx ends or Close is called. If ctx ends first, the error says why the last
// attempt failed.
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

// Close ends the connection and waits until all goroutines of the Fabric have ended.
func (f *Fabric) Close() {
	f.stop()
	f.tasks.Wait()
}

// Connected returns whether the database is connected now.
func (f *Fabric) Connected() bool { return f.current().Alive() }

// Watch sets the calls of Notify. They also report what has changed since Dial.
func (f *Fabric) Watch(n Notify) { f.watcher.watch(n) }

// current returns the last session. If its connection is lost, its replica can still
// be read.
func (f *Fabric) current() *session { return f.last.Load() }
