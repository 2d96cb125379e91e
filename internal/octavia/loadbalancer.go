package octavia

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// loadBalancer is an existing or a wanted load balancer. A wanted one has no ids and
// statuses, which Octavia assigns.
type loadBalancer struct {
	ID, Name, Project, Provider string
	VIP                         netip.Addr
	Subnet, VIPPort             string
	Tags                        []string
	Listeners                   []listener
	// UnusedPools are the pools without a listener. A wanted load balancer has none.
	UnusedPools []pool
	// Status is Octavia's provisioning status. Changed is the time of Octavia's last
	// change of the load balancer.
	Status  string
	Changed time.Time
}

// listener is one port of a load balancer with its pool, which has the same name.
type listener struct {
	ID, Name, Protocol           string
	Port                         int
	ClientTimeout, MemberTimeout time.Duration
	Sources                      []string
	Status                       string
	Pool                         pool
}

// pool is the set of a listener's members.
type pool struct {
	ID, Name, Protocol, Algorithm string
	Affinity                      bool
	Status                        string
	Members                       []member
}

// member is one member of a pool. Address and port identify it.
type member struct {
	ID, Name, Addr string
	Port           int
	Subnet         string
	Status         string
}

// key identifies a member in its pool. The subnet is not in it: Octavia's status tree
// does not show it, and it follows from the address.
func (m member) key() string { return m.Addr + " " + strconv.Itoa(m.Port) }

// Octavia's provisioning statuses that this package handles.
const (
	failed  = "ERROR"
	deleted = "DELETED"
	// pendingPrefix is the prefix of the statuses while Octavia changes the resource.
	pendingPrefix = "PENDING"
)

// listenerName returns the name of a listener and its pool: "ns/svc:TCP:80".
func listenerName(b string, l intent.Listener) string {
	return b + ":" + l.Protocol + ":" + strconv.Itoa(l.Port)
}

// translate returns the wanted load balancer for b. subnet is Options.Subnet, whose
// errors are returned. translate returns an intent.Stop if b has the same listener twice.
func translate(owner openstack.Owner, provider string, b intent.LoadBalancer, subnet func(network string, a netip.Addr) (string, error)) (loadBalancer, error) {
	at, err := subnet(b.Network, b.VIP)
	if err != nil {
		return loadBalancer{}, err
	}
	out := loadBalancer{Name: b.Name, Project: b.Project, Provider: provider, VIP: b.VIP, Subnet: at, Tags: owner.Tags()}
	for _, l := range b.Listeners {
		o, err := translateListener(b.Name, provider, l, subnet)
		if err != nil {
			return loadBalancer{}, err
		}
		out.Listeners = append(out.Listeners, o)
	}
	slices.SortFunc(out.Listeners, func(a, b listener) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(out.Listeners); i++ {
		if name := out.Listeners[i].Name; name == out.Listeners[i-1].Name {
			return loadBalancer{}, intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("load balancer %s has listener %s twice", b.Name, name)}
		}
	}
	return out, nil
}

func translateListener(b, provider string, l intent.Listener, subnet func(string, netip.Addr) (string, error)) (listener, error) {
	name := listenerName(b, l)
	out := listener{Name: name, Protocol: l.Protocol, Port: l.Port, ClientTimeout: l.ClientTimeout, MemberTimeout: l.MemberTimeout}
	for _, s := range l.Sources {
		out.Sources = append(out.Sources, s.String())
	}
	slices.Sort(out.Sources)
	out.Pool = pool{Name: name, Protocol: l.Protocol, Algorithm: capabilitiesOf(provider).algorithm, Affinity: l.Affinity}
	for _, m := range l.Members {
		at, err := subnet(m.Network, m.Addr)
		if err != nil {
			return listener{}, fmt.Errorf("member %s of %s: %w", m.Name, name, err)
		}
		out.Pool.Members = append(out.Pool.Members, member{
			Name: m.Name + ":" + strconv.Itoa(m.Port), Addr: m.Addr.String(), Port: m.Port, Subnet: at,
		})
	}
	out.Pool.Members = sortMembers(out.Pool.Members)
	return out, nil
}

// sortMembers sorts members by address and port, and drops duplicates.
func sortMembers(ms []member) []member {
	slices.SortStableFunc(ms, func(a, b member) int { return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Port, b.Port)) })
	return slices.CompactFunc(ms, func(a, b member) bool { return a.Addr == b.Addr && a.Port == b.Port })
}

// statuses returns the status of b and of all its parts.
func (b loadBalancer) statuses() []string {
	out := []string{b.Status}
	for _, l := range b.Listeners {
		out = append(out, l.Status)
		out = append(out, l.Pool.statuses()...)
	}
	for _, p := range b.UnusedPools {
		out = append(out, p.statuses()...)
	}
	return out
}

func (p pool) statuses() []string {
	out := []string{p.Status}
	for _, m := range p.Members {
		out = append(out, m.Status)
	}
	return out
}
