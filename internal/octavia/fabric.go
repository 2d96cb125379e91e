// Package octavia makes OpenStack's Octavia hold the load balancers that intent.Want asks
// for, with their floating IPs in Neutron. It knows Octavia's resources, which of them
// belong to this owner, what each provider really supports, and how to reach the wanted
// state in few calls. It knows nothing of Kubernetes, and never changes a foreign
// resource. Read apply.go first.
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

// Options configure a Fabric.
type Options struct {
	// Owner is the name of our cluster. It is in the tags of all our resources.
	Owner string
	// Cloud is the name of the cloud in CloudsFile, the path of a clouds.yaml.
	Cloud, CloudsFile string
	// Provider is Octavia's provider driver, "ovn" if empty.
	Provider string
	// Subnet returns the id of the Neutron subnet of a network that contains an address,
	// or of the network's subnet of the same family if none contains it. Apply returns
	// its errors unchanged.
	Subnet func(network string, a netip.Addr) (string, error)
	// ApplyTimeout is the time after which Apply returns intent.Wait, 3 s if 0.
	ApplyTimeout time.Duration
	// RecreateDelay is the pause before a load balancer with status ERROR is created a
	// second time, 5 s if 0. It doubles with each recreation, up to 64 times itself.
	RecreateDelay time.Duration
	// Count is called for each call to OpenStack. It may be nil.
	Count openstack.Count
	// Removed is called with a description of each load balancer and floating IP that has
	// been deleted or released. It must not block, and may be nil.
	Removed func(what string)
	// Log may be nil.
	Log *slog.Logger
}

// Fabric is the resources of one owner in Octavia.
type Fabric struct {
	Options
	session *openstack.Lazy[client]

	mu    sync.Mutex
	units map[intent.Unit]*unitState
}

// unitState is the state of a unit between calls of Apply.
type unitState struct {
	// running is closed when the work on the unit ends. It is nil if there is none.
	running chan struct{}
	// applied is the load balancer after the last successful Apply.
	applied loadBalancer
	// floatingIP is its floating IP's association at that time, the zero value if it had none.
	floatingIP association
	// noFloatingIP is true if the unit is known to have no floating IP.
	noFloatingIP bool
	// recreateDelay returns the next pause between two recreations. It is nil if the load
	// balancer has not failed since the last successful Apply.
	recreateDelay func() time.Duration
	// nextRecreation is the earliest time of the next recreation.
	nextRecreation time.Time
}

// association is the ids of a floating IP and of the port that it points to.
type association struct{ id, port string }

// New returns a Fabric. It signs in when it is first used, and again when its token expires.
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

// Connected reports whether the Fabric has signed in to OpenStack.
func (f *Fabric) Connected() bool { return f.session.Load() != nil }

func (f *Fabric) owner(u intent.Unit) openstack.Owner {
	return openstack.Owner{Cluster: f.Owner, Unit: u}
}
