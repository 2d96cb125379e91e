// Package ovn makes intents true in OVN's northbound database, beside whoever
// else writes there. It knows OVN's tables, which rows are ours and how to
// change them in as few transactions as possible; it knows nothing of
// Kubernetes, and never writes NB_Global or the southbound database.
//
//	intent.Want ──translate──▶ rows ──diff(have)──▶ plan ──commit──▶ OVN NB
//	                (pure)             (pure)                          │
//	     Notify ◀── watch ◀── replica ◀────────────────────────────────┘
package ovn

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Options of a Fabric.
type Options struct {
	// Owner marks all that is ours: external_ids:isthmus-owner.
	Owner string
	// Addresses are the northbound database's, "tcp:172.31.0.1:6641". Any
	// member of a cluster will do.
	Addresses []string
	// Log may be nil.
	Log *slog.Logger
}

// Fabric is the northbound database as one owner sees it.
type Fabric struct {
	owner string
	log   *slog.Logger
	queue chan *request
	book  *book
	bell  bell
	last  atomic.Pointer[session] // never nil once Dial has returned
	stop  context.CancelFunc
	ended <-chan struct{}
	tasks sync.WaitGroup
}

// Router is a layer 3 domain that is there, ours or not.
type Router struct {
	Name string
	Ours bool
	// Interfaces are those of its ports, sorted.
	Interfaces []RouterInterface
	// Networks are the switches joined to it, sorted.
	Networks []string
	// MTU is the smallest that Neutron states for one of its switches, 0 if none.
	MTU int
}

// RouterInterface is what one router port has of a network.
type RouterInterface struct {
	// Prefix is the network, without the router's own address.
	Prefix        netip.Prefix
	Network, Port string
	Ours          bool
}

// Notify are the calls for what somebody else does. They come from one
// goroutine and must not block.
type Notify struct {
	// Unit is called when something of the unit was changed or removed by
	// somebody else, when what it refers to or waits for has changed, and when
	// a port behind another port has come up.
	Unit func(intent.Unit)
	// Router is called when a router appeared, changed or went; also once for
	// each that is there at first.
	Router func(name string)
	// Host is called when the ports that a word leads to may be others than they
	// were; with an empty word when any may be.
	Host func(word string)
	// Up is called when a port of somebody else's that is behind another has come up.
	Up func(port string)
}

// PortNotUp is the reason of units whose port is on its way.
const PortNotUp = "PortNotUp"

var errNotConnected = errors.New("OVN's northbound database cannot be reached")

// Dial connects, and stays connected until ctx ends. It blocks until the first
// connection stands; its error is why there was none until ctx ended.
func Dial(ctx context.Context, o Options) (*Fabric, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &Fabric{
		owner: o.Owner, log: o.Log, stop: cancel, ended: ctx.Done(),
		queue: make(chan *request, batchLimit), book: newBook(),
	}
	k := f.keeper(o)
	s, err := k.Dial(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	f.tasks.Go(func() { k.Stay(ctx, s) })
	f.tasks.Go(func() { f.commitAll(ctx) })
	f.tasks.Go(func() { f.tellAll(ctx) })
	return f, nil
}

// Close ends the connection and waits for all that Dial started.
func (f *Fabric) Close() {
	f.stop()
	f.tasks.Wait()
}

// Connected says whether the database can be reached now.
func (f *Fabric) Connected() bool { return f.current().Alive() }

func (f *Fabric) current() *session { return f.last.Load() }
