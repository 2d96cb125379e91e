// Package octavia makes the balancers of intents true in OpenStack's Octavia,
// with their floating IPs in Neutron. It knows Octavia's objects, which of them
// are ours, what a provider really does, and how to get there in few calls; it
// knows nothing of Kubernetes, and never changes what is not ours.
//
//	intent.Balancer ──objects──▶ balancer ──plan(have)──▶ steps ──run──▶ Octavia
//	                  (pure)                 (pure)
package octavia

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Options of a Fabric.
type Options struct {
	// Owner marks all that is ours: tag isthmus-owner.
	Owner string
	// Cloud is the name in CloudsFile, a clouds.yaml, of whom we are to OpenStack.
	Cloud, CloudsFile string
	// Provider is Octavia's: ovn if empty.
	Provider string
	// Subnet finds the id of the Neutron subnet of a segment that an address
	// lies in; of one that it does not lie in, the segment's of the address's
	// family. Its errors are told as they are.
	Subnet func(segment string, a netip.Addr) (string, error)
	// Patience is how long Apply may take before it says intent.Wait; 3 seconds if 0.
	Patience time.Duration
	// Pause is how long to wait before a load balancer in error is made anew a
	// second time, and then twice as long each time, up to 64 times; 5 seconds if 0.
	Pause time.Duration
	// Count hears of each call to OpenStack. It may be nil.
	Count openstack.Count
	// Removed is told, in words, of each load balancer and floating IP that is no
	// longer there, or no longer leads to us. It must not block, and may be nil.
	Removed func(what string)
	// Log may be nil.
	Log *slog.Logger
}

// Fabric is Octavia as one owner sees it.
type Fabric struct {
	Options
	session *openstack.Lazy[api]

	mu    sync.Mutex
	units map[intent.Unit]*entry
}

// entry is what is remembered of a unit.
type entry struct {
	// flight is closed when the call under way, if any, has ended.
	flight chan struct{}
	// was is the balancer as last seen with nothing to be done to it.
	was balancer
	// float is where its floating IP led to then; the zero value if it has none.
	float lead
	// grounded is true once it is known that the unit has no floating IP.
	grounded bool
	// failures count how often the balancer was made anew; next is when it may be again.
	failures int
	next     time.Time
}

// lead is a floating IP and the port that it leads to.
type lead struct{ id, port string }

// New returns a Fabric. It signs in when first used, and again when needed.
func New(o Options) *Fabric {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Removed == nil {
		o.Removed = func(string) {}
	}
	if o.Provider == "" {
		o.Provider = "ovn"
	}
	if o.Patience == 0 {
		o.Patience = 3 * time.Second
	}
	if o.Pause == 0 {
		o.Pause = later
	}
	f := &Fabric{Options: o, units: map[intent.Unit]*entry{}}
	f.session = openstack.NewLazy(f.connect)
	return f
}

// Connected says whether we have ever signed in.
func (f *Fabric) Connected() bool { return f.session.Load() != nil }

// api signs in if nobody has yet.
func (f *Fabric) api(ctx context.Context) (*api, error) { return f.session.Get(ctx) }
