// Package neutron makes Neutron hold what intent.Want asks for, beside the other users of
// the same cloud. It knows Neutron's objects, which of them belong to this owner, how to
// change them in few calls, and how to keep ports ready before pods ask for them. It
// knows nothing of Kubernetes, and never changes foreign objects.
//
//	intent.Want ──translate──▶ objects ──diff(have)──▶ steps ──send──▶ Neutron
//	                 (pure)               (pure)          ▲
//	                        pool of ready ports ──────────┘ a pod waits for no call
package neutron

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/portpool"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// Options configure a Fabric.
type Options struct {
	// Owner is the value of tag isthmus-owner on all our objects.
	Owner string
	// Cloud names the cloud and our credentials in CloudsFile, a clouds.yaml.
	Cloud, CloudsFile string
	// Pool has the limits of each pool of ready ports. If nil, ports are created only
	// when a pod asks for one.
	Pool *portpool.Limits
	// AlwaysFilled reports whether the pool of a node's ports in exactly these security
	// groups stays filled even if it is hardly used. groups has the groups' names, and
	// the id of a group that is not ours. node is empty for subports. AlwaysFilled must
	// not block, and may be nil.
	AlwaysFilled func(node string, groups []string) bool
	// NodeExists reports whether a node exists. AlwaysFilled is not called for a node
	// that does not: pods end later than their node, and a pool that is filled for them
	// would stay. NodeExists must not block. If nil, every node exists.
	NodeExists func(node string) bool
	// Pause is the longest time that the pool waits after Neutron has refused a call. If
	// 0, it depends on what was refused.
	Pause time.Duration
	// Changed is called when a unit must be applied again although nothing in Kubernetes
	// has changed, for example because a deferred step has failed. It must not block, and
	// may be nil.
	Changed func(intent.Unit)
	// Up returns whether a port is up according to OVN. known is false if OVN does not
	// see the port now; then Neutron is asked. Up must not block, and may be nil.
	Up func(port string) (up, known bool)
	// Count is called for each call to OpenStack. It may be nil.
	Count openstack.Count
	// Removed is called with a description of each object that has been deleted. It must
	// not block, and may be nil.
	Removed func(what string)
	// Log may be nil.
	Log *slog.Logger

	pace trunk.Pace // zero value: trunk.DefaultPace
}

// Fabric is the objects of one owner in Neutron.
type Fabric struct {
	Options
	// PortPool has the pools of ready ports.
	PortPool *portpool.Worker
	session  *openstack.Lazy[client.Client]
	tasks    sync.WaitGroup
	stop     context.CancelFunc
	// unnamed has the units whose ports from the pool have no name yet.
	unnamed    unitQueue
	refreshing sync.Mutex // held during Refresh
	limiter    portLimiter
	trunks     *trunk.Trunks
	pending    *trunk.Pending

	mu    sync.Mutex // guards the fields below
	units map[intent.Unit]*entry
	// listed is true once all objects of ours have been read. From then on, a unit that
	// is missing from units has no objects.
	listed bool
	// touched has the ids of objects created, changed or deleted since Refresh began.
	touched map[string]bool
	// changedUnits has the units that a read for the pool has found to have changed.
	changedUnits []intent.Unit
	// handedOut has the units of ports from the pool that have no name yet, by the port's id.
	handedOut map[string]intent.Unit
	// nodes has the nodes of the parent ports, by the port's id.
	nodes    map[string]string
	networks map[string]plan.Network
	groups   *register
	// staleUnits has the units whose entry has an object that is gone from Neutron.
	staleUnits    map[intent.Unit]bool
	defaultGroups map[string]string // ids of the default security groups, by project
}

// New returns a Fabric that works until ctx ends or Close is called. It signs in to
// OpenStack when first used, and again when needed.
func New(ctx context.Context, o Options) *Fabric {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Removed == nil {
		o.Removed = func(string) {}
	}
	if o.pace == (trunk.Pace{}) {
		o.pace = trunk.DefaultPace
	}
	ctx, cancel := context.WithCancel(openstack.Background(ctx))
	f := &Fabric{
		Options: o, stop: cancel, unnamed: unitQueue{added: signal.New()},
		units: map[intent.Unit]*entry{}, touched: map[string]bool{}, handedOut: map[string]intent.Unit{}, nodes: map[string]string{}, networks: map[string]plan.Network{},
		groups: newRegister(), staleUnits: map[intent.Unit]bool{}, limiter: newPortLimiter(),
		defaultGroups: map[string]string{},
	}
	f.session = openstack.NewLazy(f.signIn)
	f.trunks = trunk.New(func(ctx context.Context) (func(), error) { return f.limiter.take(ctx, 1) })
	f.pending = trunk.NewPending(pendingPorts{f}, o.Up, o.pace, o.Log)
	f.PortPool = portpool.New(portpool.Options{
		Neutron: poolPorts{f}, Limits: o.Pool, Pause: o.Pause, Log: o.Log,
		Busy: func() bool { return !f.unnamed.empty() },
		Up:   func(p portpool.Port) bool { return f.isUp(p.Record.(plan.Object)) },
	})
	f.tasks.Go(func() { f.writeNames(ctx) })
	f.tasks.Go(func() { f.PortPool.Run(ctx) })
	f.tasks.Go(func() { f.pending.Run(ctx) })
	return f
}

// Close stops what New started and waits for its end.
func (f *Fabric) Close() {
	f.stop()
	f.tasks.Wait()
}

// Connected reports whether the Fabric has signed in to OpenStack.
func (f *Fabric) Connected() bool { return f.session.Load() != nil }

// Network returns the network of that name, or false if no unit has been applied with it.
func (f *Fabric) Network(name string) (plan.Network, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, known := f.networks[name]
	return s, known
}

// api returns the client. It signs in to OpenStack if that has not happened yet.
func (f *Fabric) api(ctx context.Context) (*client.Client, error) { return f.session.Get(ctx) }

func (f *Fabric) signIn(ctx context.Context) (*client.Client, error) {
	a, err := client.Connect(ctx, f.Cloud, f.CloudsFile, f.Count)
	if err != nil {
		return nil, err
	}
	f.Log.Info("signed in to OpenStack", "cloud", f.Cloud, "project", a.Project)
	return a, nil
}

// dependencies returns what a unit's objects depend on. It asks Neutron once for what is
// not known yet.
func (f *Fabric) dependencies(ctx context.Context, a *client.Client, w intent.Want, e *entry) (plan.Dependencies, error) {
	out := plan.Dependencies{
		Project: a.Project, Networks: map[string]plan.Network{}, Groups: map[string]string{}, DefaultGroups: map[string]string{}, Pools: map[string]plan.PrefixPool{},
		PortSecurity: a.Extensions[client.ExtPortSecurity], Binding: a.Extensions[client.ExtBinding],
	}
	for _, s := range w.Networks {
		if err := findSubnetPool(ctx, a, s, e, out); err != nil {
			return out, err
		}
		if s.Existing == "" {
			continue
		}
		network, err := a.Network(ctx, s)
		if err != nil {
			return out, err
		}
		f.storeNetwork(s.Name, network)
	}
	for _, p := range w.Ports {
		if s, known := f.Network(p.Network); known {
			out.Networks[p.Network] = s
		}
		if err := f.ensureTrunk(ctx, a, p); err != nil {
			return out, err
		}
		if len(p.Groups)+len(p.CloudGroups) > 0 {
			continue
		}
		if err := f.findDefaultGroup(ctx, a, plan.ProjectOf(p, out)); err != nil {
			return out, err
		}
	}
	return out, f.findGroups(ctx, a, w, out)
}

// ensureTrunk ensures that the parent port of p, if any, has a trunk. It returns an
// intent.Stop if this Neutron has no trunks.
func (f *Fabric) ensureTrunk(ctx context.Context, a *client.Client, p intent.Port) error {
	switch {
	case p.Parent == "":
		return nil
	case !a.Extensions[client.ExtTrunk]:
		return intent.Stop{Reason: "NotSupported", Why: fmt.Sprintf("port %s cannot be behind port %s: this Neutron lacks extension %s", p.Name, p.Parent, client.ExtTrunk)}
	}
	return f.trunks.Ensure(ctx, a, p.Parent)
}

func (f *Fabric) storeNetwork(name string, s plan.Network) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks[name] = s
}

// findDefaultGroup finds the id of a project's default security group.
func (f *Fabric) findDefaultGroup(ctx context.Context, a *client.Client, project string) error {
	f.mu.Lock()
	_, known := f.defaultGroups[project]
	f.mu.Unlock()
	if known {
		return nil
	}
	found, err := a.List(ctx, plan.KindGroup, url.Values{"name": {"default"}, "project_id": {project}})
	if err != nil || len(found) == 0 {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.defaultGroups[project] = found[0].ID
	return nil
}
