// Package ovn makes intents true in OVN's northbound database, beside whoever
// else writes there. It knows OVN's tables, which rows are ours and how to
// change them in as few transactions as possible; it knows nothing of
// Kubernetes, and never writes NB_Global or the southbound database.
//
//	intent.Want ──translate──▶ rows ──diff(have)──▶ operations ──commit──▶ OVN NB
//	                (pure)              (pure)                               │
//	        Notify ◀── watch ◀── cache ◀─────────────────────────────────────┘
package ovn

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Options of a Fabric.
type Options struct {
	// Owner marks all that is ours: external_ids:isthmus-owner.
	Owner string
	// Addresses are the northbound database's, "tcp:172.31.0.1:6641".
	Addresses []string
	Log       *slog.Logger
}

// Fabric is the northbound database as one owner sees it.
type Fabric struct{}

// Router is a layer 3 domain that is there, ours or not.
type Router struct {
	Name string
	Ours bool
	// Networks are those of its ports, sorted.
	Networks []Network
	// Segments are the switches joined to it, sorted.
	Segments []string
	// MTU is the smallest that Neutron states for one of its switches, 0 if none.
	MTU int
}

// Network is what one router port has of a network.
type Network struct {
	// Prefix is the network, without the router's own address.
	Prefix        netip.Prefix
	Segment, Port string
	Ours          bool
}

// Notify are the calls for what somebody else does. They come from one
// goroutine and must not block.
type Notify struct {
	// Unit is called when something of the unit was changed or removed by
	// somebody else, or when what it refers to or waits for has changed.
	Unit func(intent.Unit)
	// Router is called when a router appeared, changed or went; also once for
	// each that is there at first.
	Router func(name string)
}

// Dial connects, and stays connected until ctx ends. It blocks until the first
// connection stands.
func Dial(ctx context.Context, o Options) (*Fabric, error) { return nil, errors.ErrUnsupported }

// Close ends the connection and waits for what Dial started.
func (f *Fabric) Close() {}

// Apply makes w true for unit u, and returns when it is committed and can be
// seen. Units that apply at the same time share a transaction. Its errors are
// intent.Wait, intent.Stop, or such that trying again may help.
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Seen, error) {
	return intent.Seen{}, errors.ErrUnsupported
}

// Units are all that own anything, sorted.
func (f *Fabric) Units(ctx context.Context) ([]intent.Unit, error) { return nil, errors.ErrUnsupported }

// Ports are the pod ports of all units as they stand, without those that join
// a segment to a router.
func (f *Fabric) Ports(ctx context.Context) (map[intent.Unit][]intent.Port, error) {
	return nil, errors.ErrUnsupported
}

// Routers are all that there are, ours and others', sorted by name.
func (f *Fabric) Routers() []Router { return nil }

// Router is the one of that name.
func (f *Fabric) Router(name string) (Router, bool) { return Router{}, false }

// Watch sets who is told. What happened since Dial is told at once.
func (f *Fabric) Watch(n Notify) {}

// Clear deletes all that is ours and counts the units.
func (f *Fabric) Clear(ctx context.Context) (int, error) { return 0, errors.ErrUnsupported }

// Connected says whether the database can be reached now.
func (f *Fabric) Connected() bool { return false }
