// Package octavia makes the load balancers of intents true in OpenStack's
// Octavia, with their floating IPs in Neutron. It knows Octavia's resources,
// which of them are ours, what each provider really supports, and how to get to
// the wanted state in few calls. It knows nothing of Kubernetes, and never
// changes a resource that is not ours. Read apply.go first.
//
//	intent.LoadBalancer ──translate──▶ loadBalancer ──plan(have)──▶ steps ──execute──▶ Octavia
//	                       (pure)                       (pure)
package octavia

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Options of a Fabric.
type Options struct {
	// Owner is the name of our cluster. It is in the tags of all that is ours.
	Owner string
	// Cloud is the name of the cloud in CloudsFile, the path of a clouds.yaml.
	Cloud, CloudsFile string
	// Provider is Octavia's provider driver; "ovn" if empty.
	Provider string
	// Subnet returns the id of the Neutron subnet of a network that contains an
	// address; if none does, that of the network's subnet of the same family.
	// Apply returns its errors as they are.
	Subnet func(network string, a netip.Addr) (string, error)
	// ApplyTimeout is how long Apply may take before it returns intent.Wait; 3
	// seconds if 0.
	ApplyTimeout time.Duration
	// RecreateDelay is how long to wait before a load balancer with status ERROR
	// is created a second time. It doubles each time, up to 64 times itself; 5
	// seconds if 0.
	RecreateDelay time.Duration
	// Count hears of each call to OpenStack. It may be nil.
	Count openstack.Count
	// Removed is called with a description of each load balancer and floating IP
	// that was deleted or released. It must not block, and may be nil.
	Removed func(what string)
	// Log may be nil.
	Log *slog.Logger
}

// Fabric is Octavia as one owner sees it.
type Fabric struct {
	Options
	session *openstack.Lazy[client]

	mu    sync.Mutex
	units map[intent.Unit]*unitState
}

// unitState is what a Fabric remembers of a unit.
type unitState struct {
	// running is closed when the work on the unit ends; nil if there is none.
	running chan struct{}
	// applied is the load balancer as it was when nothing was left to do.
	applied loadBalancer
	// floatingIP is where its floating IP led then; the zero value without one.
	floatingIP association
	// noFloatingIP is true if the unit is known to have no floating IP.
	noFloatingIP bool
	// recreateDelay returns the next pause between two recreations; nil if the
	// load balancer has not failed since it was last applied.
	recreateDelay func() time.Duration
	// nextRecreation is the earliest time of the next recreation.
	nextRecreation time.Time
}

// association is a floating IP and the port that it leads to, both by id.
type association struct{ id, port string }

// New returns a Fabric. It signs in when it is first used, and again when its
// token expires.
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
	if o.ApplyTimeout == 0 {
		o.ApplyTimeout = 3 * time.Second
	}
	if o.RecreateDelay == 0 {
		o.RecreateDelay = busyDelay
	}
	f := &Fabric{Options: o, units: map[intent.Unit]*unitState{}}
	f.session = openstack.NewLazy(f.connect)
	return f
}

// Connected reports whether the fabric has ever signed in.
func (f *Fabric) Connected() bool { return f.session.Load() != nil }

func (f *Fabric) owner(u intent.Unit) openstack.Owner {
	return openstack.Owner{Cluster: f.Owner, Unit: u}
}
