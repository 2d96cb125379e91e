// Package cloud is Neutron as the controller uses it: the fabric, which works
// once all of our resources have been read, and the ids of the OpenStack objects
// that the settings and the users name. It reads no Kubernetes objects. Read
// cloud.go first, then read.go.
package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/portpool"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Cloud is Neutron. It applies nothing before it has been read, because until
// then it is not known which port belongs to which unit.
type Cloud struct {
	*neutron.Fabric
	settings settings.Neutron
	log      *slog.Logger

	// read is true once all of our resources have been read. problem says why they
	// cannot be read; nil if no attempt has failed.
	read    atomic.Bool
	problem atomic.Pointer[string]
	// The ids of the objects that the settings name; nil until they are found.
	// external is the network of floating IPs. It is looked up when a Service
	// first needs it.
	router, external, podNetwork, serviceNetwork atomic.Pointer[string]

	groups   groups
	projects projects
	quotas   quotas
}

// Reasons of a Wait for Neutron: Unread at every start, Unreachable after a
// failure.
const (
	Unread      = "NeutronUnread"
	Unreachable = "NeutronAway"
)

// SubnetNotReady is the reason of a Wait for a network that is being created.
const SubnetNotReady = "SubnetNotReady"

// subnetDelay is when to look again for a network that is being created.
const subnetDelay = time.Second

// Options of a Cloud.
type Options struct {
	// Owner is the cluster's name. It marks everything that we create.
	Owner    string
	Settings settings.Neutron
	// Changed is called for each unit whose resources others have changed.
	Changed func(intent.Unit)
	// PortUp tells whether a port is up, according to OVN.
	PortUp func(port string) (up, known bool)
	// NodeExists is false for a node that certainly does not exist.
	NodeExists func(node string) bool
	// Count counts calls to OpenStack.
	Count func(kind, verb string, background bool)
	Log   *slog.Logger
}

// New returns a Cloud that has not been read. It works until ctx ends. The caller
// must Close it.
func New(ctx context.Context, o Options) *Cloud {
	c := &Cloud{settings: o.Settings, log: o.Log}
	n := neutron.Options{
		Owner: o.Owner, Cloud: o.Settings.Cloud, CloudsFile: o.Settings.CloudsFile, Changed: o.Changed,
		Pause: o.Settings.LookEvery.Duration, Up: o.PortUp, Count: o.Count, Log: o.Log,
	}
	if p := o.Settings.Pool; *p.Min > 0 {
		n.Pool = &portpool.Limits{Min: *p.Min, Max: p.Max, Batch: p.Batch}
		n.AlwaysFilled, n.NodeExists = c.isStandardSet, o.NodeExists
	}
	c.Fabric = neutron.New(ctx, n)
	c.groups.find = func(ctx context.Context, name string) (string, error) {
		return c.Find(ctx, neutron.SecurityGroup, name)
	}
	return c
}

// Apply applies w with the fabric. It returns an intent.Wait before Neutron has
// been read; the controller runs all units after that.
func (c *Cloud) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	if err := c.Ready(); err != nil {
		return intent.Observed{}, err
	}
	return c.Fabric.Apply(ctx, u, w)
}

// Ready returns nil once Neutron has been read; an intent.Wait before that.
func (c *Cloud) Ready() error {
	if c.read.Load() {
		return nil
	}
	problem := c.problem.Load()
	if problem == nil {
		return intent.Wait{Reason: Unread, For: "Neutron, which is being read"}
	}
	return intent.Wait{Reason: Unreachable, For: "Neutron: " + *problem}
}

// Router returns the id of the router that the settings name; false until it is
// found.
func (c *Cloud) Router() (string, bool) { return idOf(c.settings.Router, &c.router) }

// PodNetwork returns the id of the network that the settings name for pods: empty
// if they name none, false until it is found.
func (c *Cloud) PodNetwork() (string, bool) { return idOf(c.settings.PodNetwork, &c.podNetwork) }

// ServiceNetwork returns the id of the network that the settings name for
// Services: empty if they name none, false until it is found.
func (c *Cloud) ServiceNetwork() (string, bool) {
	return idOf(c.settings.ServiceNetwork, &c.serviceNetwork)
}

func idOf(name string, at *atomic.Pointer[string]) (string, bool) {
	if name == "" {
		return "", true
	}
	id := at.Load()
	if id == nil {
		return "", false
	}
	return *id, true
}

// ExternalNetwork returns the id of the network of floating IPs that the settings
// name; empty if they name none. It asks Neutron once. It errs if Neutron cannot
// be asked or has no such network.
func (c *Cloud) ExternalNetwork(ctx context.Context) (string, error) {
	if id, known := idOf(c.settings.ExternalNetwork, &c.external); known {
		return id, nil
	}
	id, err := c.Find(ctx, neutron.Network, c.settings.ExternalNetwork)
	if err != nil {
		return "", err
	}
	c.external.Store(&id)
	return id, nil
}

// Network returns a Subnet's network as it is in Neutron; false if it has none.
func (c *Cloud) Network(subnet string) (decide.CloudNetwork, bool) {
	s, known := c.Fabric.Network(decide.NetworkName(subnet))
	n := decide.CloudNetwork{ID: s.ID, MTU: s.MTU}
	for _, sub := range s.Subnets {
		n.Prefixes = append(n.Prefixes, sub.Prefix)
		if sub.Gateway.IsValid() {
			n.Gateways = append(n.Gateways, sub.Gateway)
		}
	}
	return n, known && s.ID != ""
}

// SubnetID returns the id of the network's subnet that contains the address. If
// none does, it returns a subnet of the address's family. It errs with an
// intent.Wait if there is no such subnet either.
func (c *Cloud) SubnetID(network string, a netip.Addr) (string, error) {
	s, _ := c.Fabric.Network(network)
	sameFamily := ""
	for _, sub := range s.Subnets {
		switch {
		case sub.Prefix.Contains(a):
			return sub.ID, nil
		case sub.Prefix.Addr().Is4() == a.Is4():
			sameFamily = sub.ID
		}
	}
	if sameFamily == "" {
		return "", intent.Wait{Reason: SubnetNotReady, After: subnetDelay, For: fmt.Sprintf("network %s in Neutron, where %v is reached", network, a)}
	}
	return sameFamily, nil
}
