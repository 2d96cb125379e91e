// Package neutron makes intents true in OpenStack's Neutron, beside whoever
// else uses it. It knows Neutron's objects, which of them are ours, how to
// change them in few calls, and how to have ports ready before they are asked
// for; it knows nothing of Kubernetes, and never changes what is not ours.
//
//	intent.Want ──translate──▶ objects ──diff(have)──▶ steps ──send──▶ Neutron
//	                 (pure)               (pure)          ▲
//	                        pool of ready ports ──────────┘ no call in a pod's path
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

// Options of a Fabric.
type Options struct {
	// Owner marks all that is ours: tag isthmus-owner.
	Owner string
	// Cloud is the name in CloudsFile, a clouds.yaml, of whom we are to OpenStack.
	Cloud, CloudsFile string
	// Pool has the limits of each pool of ready ports; nil: no port is created before
	// a pod asks for it.
	Pool *portpool.Limits
	// AlwaysFilled tells of the names of security groups whether the pool of a node's
	// ports in exactly these is kept filled however little it is used; node is empty for
	// subports. A group that is not ours has its id for a name. It must not block, and
	// may be nil.
	AlwaysFilled func(node string, groups []string) bool
	// NodeExists tells whether AlwaysFilled is to be asked for a node: pods end later
	// than their node, and a pool that was filled for them then would stay. It must not
	// block; nil: every node exists.
	NodeExists func(node string) bool
	// Pause is how long the pool rests at most after Neutron has refused it
	// something; as long as what was refused takes to change if 0.
	Pause time.Duration
	// Changed is called when a unit should be applied again though nothing of
	// Kubernetes has changed: what was put off has failed. It must not block,
	// and may be nil.
	Changed func(intent.Unit)
	// Up tells what OVN says of a port: whether it is up. It does not know if it
	// does not see the port now, and Neutron is asked. It must not block, and may
	// be nil.
	Up func(port string) (up, known bool)
	// Count hears of each call to OpenStack. It may be nil.
	Count openstack.Count
	// Removed is told, in words, of each object that has been deleted. It must
	// not block, and may be nil.
	Removed func(what string)
	// Log may be nil.
	Log *slog.Logger

	pace trunk.Pace // zero: the default one
}

// Fabric is Neutron as one owner sees it.
type Fabric struct {
	Options
	// PortPool has the pools of ready ports.
	PortPool *portpool.Worker
	session  *openstack.Lazy[client.Client]
	tasks    sync.WaitGroup
	stop     context.CancelFunc
	// unnamed are the units whose ports from the pool have no name yet.
	unnamed unitQueue
	looking sync.Mutex // of Refresh
	quiet   quiet
	trunks  *trunk.Trunks
	pending *trunk.Pending

	mu    sync.Mutex // of all below
	units map[intent.Unit]*entry
	// listed is true once all that is ours has been read: what is not in units
	// is not there.
	listed bool
	// touched are the ids that were made, changed or deleted since Refresh began.
	touched map[string]bool
	// found are units that the pool has found to have changed.
	found []intent.Unit
	// handedOut are the units of ports from the pool that have no name yet, by the
	// port's id.
	handedOut map[string]intent.Unit
	// nodes are where the parent ports are, by id.
	nodes    map[string]string
	segments map[string]plan.Network
	groups   *register
	// doubtful are the units of which something is gone that they still know.
	doubtful map[intent.Unit]bool
	standard map[string]string // ids of the default groups by project
}

// New returns a Fabric. It signs in when first used, and again when needed;
// until ctx ends or Close is called it looks after the pool.
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
		units: map[intent.Unit]*entry{}, touched: map[string]bool{}, handedOut: map[string]intent.Unit{}, nodes: map[string]string{}, segments: map[string]plan.Network{},
		groups: newRegister(), doubtful: map[intent.Unit]bool{}, quiet: newQuiet(),
		standard: map[string]string{},
	}
	f.session = openstack.NewLazy(f.signIn)
	f.trunks = trunk.New(func(ctx context.Context) (func(), error) { return f.quiet.take(ctx, 1) })
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

// Close ends what New started and waits for it.
func (f *Fabric) Close() {
	f.stop()
	f.tasks.Wait()
}

// Connected says whether we have ever signed in.
func (f *Fabric) Connected() bool { return f.session.Load() != nil }

// Network is a network that a unit has been applied with, by its name.
func (f *Fabric) Network(name string) (plan.Network, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, known := f.segments[name]
	return s, known
}

// api signs in if nobody has yet.
func (f *Fabric) api(ctx context.Context) (*client.Client, error) { return f.session.Get(ctx) }

// signIn signs in to OpenStack.
func (f *Fabric) signIn(ctx context.Context) (*client.Client, error) {
	a, err := client.Connect(ctx, f.Cloud, f.CloudsFile, f.Count)
	if err != nil {
		return nil, err
	}
	f.Log.Info("signed in to OpenStack", "cloud", f.Cloud, "project", a.Project)
	return a, nil
}

// around is what a unit's objects depend on. Most of it is known; what is not
// is asked for once.
func (f *Fabric) around(ctx context.Context, a *client.Client, w intent.Want, e *entry) (plan.Dependencies, error) {
	out := plan.Dependencies{
		Project: a.Project, Networks: map[string]plan.Network{}, Groups: map[string]string{}, DefaultGroups: map[string]string{}, Pools: map[string]plan.PrefixPool{},
		PortSecurity: a.Extensions[client.ExtPortSecurity], Binding: a.Extensions[client.ExtBinding],
	}
	for _, s := range w.Networks {
		if err := askPool(ctx, a, s, e, out); err != nil {
			return out, err
		}
		if s.Existing == "" {
			continue
		}
		seen, err := a.Network(ctx, s)
		if err != nil {
			return out, err
		}
		f.learn(s.Name, seen)
	}
	for _, p := range w.Ports {
		if s, known := f.Network(p.Network); known {
			out.Networks[p.Network] = s
		}
		if err := f.askTrunk(ctx, a, p); err != nil {
			return out, err
		}
		if len(p.Groups)+len(p.CloudGroups) > 0 {
			continue
		}
		if err := f.askStandard(ctx, a, plan.ProjectOf(p, out)); err != nil {
			return out, err
		}
	}
	return out, f.askGroups(ctx, a, w, out)
}

// askTrunk learns of the trunk on a port that a pod's port is to be attached to.
func (f *Fabric) askTrunk(ctx context.Context, a *client.Client, p intent.Port) error {
	switch {
	case p.Parent == "":
		return nil
	case !a.Extensions[client.ExtTrunk]:
		return intent.Stop{Reason: "NotSupported", Why: fmt.Sprintf("port %s cannot be behind port %s: this Neutron lacks extension %s", p.Name, p.Parent, client.ExtTrunk)}
	}
	return f.trunks.Ensure(ctx, a, p.Parent)
}

func (f *Fabric) learn(name string, s plan.Network) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.segments[name] = s
}

// askStandard learns which is a project's default security group.
func (f *Fabric) askStandard(ctx context.Context, a *client.Client, project string) error {
	f.mu.Lock()
	_, known := f.standard[project]
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
	f.standard[project] = found[0].ID
	return nil
}
