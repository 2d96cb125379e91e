package octavia

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// balancer is a load balancer as it should be or is. What Octavia gives out is
// empty in one that is wanted.
type balancer struct {
	ID, Name, Project, Provider string
	VIP                         netip.Addr
	Subnet, VIPPort             string
	Tags                        []string
	Listeners                   []listener
	// Pools that are behind no listener, of a balancer that is.
	Strays []pool
	// Status is Octavia's provisioning status; Changed is when that changed last.
	Status  string
	Changed time.Time
}

// listener is one port of a balancer and the pool behind it. Its name is the
// pool's, too.
type listener struct {
	ID, Name, Protocol           string
	Port                         int
	ClientTimeout, MemberTimeout time.Duration
	Sources                      []string
	Status                       string
	Pool                         pool
}

// pool is the set of members behind a listener.
type pool struct {
	ID, Name, Protocol, Algorithm string
	Affinity                      bool
	Status                        string
	Members                       []member
}

// member is an address in a pool. Address and port are its identity.
type member struct {
	ID, Name, Addr string
	Port           int
	Subnet         string
	Status         string
}

// key is what tells members apart. What Octavia's status does not tell, the
// subnet, the address implies.
func (m member) key() string { return m.Addr + " " + strconv.Itoa(m.Port) }

// Octavia's provisioning statuses.
const (
	active  = "ACTIVE"
	failed  = "ERROR"
	deleted = "DELETED"
	pending = "PENDING" // what all others begin with
)

const (
	tagOwner = "isthmus-owner="
	tagUnit  = "isthmus-unit="
)

// mark is whose an object is.
type mark struct {
	owner string
	unit  intent.Unit
}

func (m mark) tags() []string { return []string{tagOwner + m.owner, tagUnit + string(m.unit)} }

// description marks a floating IP, which takes tags only after it is made.
func (m mark) description() string { return tagOwner + m.owner + "," + tagUnit + string(m.unit) }

// listenerName names a listener and its pool: "ns/svc:TCP:80".
func listenerName(b string, l intent.Listener) string {
	return b + ":" + l.Protocol + ":" + strconv.Itoa(l.Port)
}

// objects is what a balancer is in Octavia's terms. Subnet finds the subnet of
// a segment that an address lies in.
func objects(m mark, provider string, b intent.LoadBalancer, subnet func(segment string, a netip.Addr) (string, error)) (balancer, error) {
	at, err := subnet(b.Network, b.VIP)
	if err != nil {
		return balancer{}, err
	}
	out := balancer{Name: b.Name, Project: b.Project, Provider: provider, VIP: b.VIP, Subnet: at, Tags: m.tags()}
	for _, l := range b.Listeners {
		o, err := listenerOf(b.Name, provider, l, subnet)
		if err != nil {
			return balancer{}, err
		}
		out.Listeners = append(out.Listeners, o)
	}
	slices.SortFunc(out.Listeners, func(a, b listener) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(out.Listeners); i++ {
		if name := out.Listeners[i].Name; name == out.Listeners[i-1].Name {
			return balancer{}, intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("load balancer %s has %s twice", b.Name, name)}
		}
	}
	return out, nil
}

func listenerOf(b, provider string, l intent.Listener, subnet func(string, netip.Addr) (string, error)) (listener, error) {
	name := listenerName(b, l)
	out := listener{Name: name, Protocol: l.Protocol, Port: l.Port, ClientTimeout: l.ClientTimeout, MemberTimeout: l.MemberTimeout}
	for _, s := range l.Sources {
		out.Sources = append(out.Sources, s.String())
	}
	slices.Sort(out.Sources)
	out.Pool = pool{Name: name, Protocol: l.Protocol, Algorithm: abilitiesOf(provider).algorithm, Affinity: l.Affinity}
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

// sortMembers puts members in order and leaves out those that are there twice.
func sortMembers(ms []member) []member {
	slices.SortStableFunc(ms, func(a, b member) int { return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Port, b.Port)) })
	return slices.CompactFunc(ms, func(a, b member) bool { return a.Addr == b.Addr && a.Port == b.Port })
}

// statuses are all of a balancer's.
func (b balancer) statuses() []string {
	out := []string{b.Status}
	for _, l := range b.Listeners {
		out = append(out, l.Status)
		out = append(out, l.Pool.statuses()...)
	}
	for _, p := range b.Strays {
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

// ours are those tags that say whose an object is.
func ours(tags []string) []string {
	return slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return !isOurs(t) })))
}

func isOurs(tag string) bool {
	return strings.HasPrefix(tag, tagOwner) || strings.HasPrefix(tag, tagUnit)
}

// retag puts tags in place of those that say whose an object is; others stay.
func retag(have, tags []string) []string {
	return append(slices.DeleteFunc(slices.Clone(have), isOurs), tags...)
}

// unitOf is the unit of owner that tags name; false if they name none.
func unitOf(owner string, tags []string) (intent.Unit, bool) {
	unit := ""
	for _, t := range tags {
		if u, is := strings.CutPrefix(t, tagUnit); is {
			unit = u
		}
	}
	return intent.Unit(unit), unit != "" && slices.Contains(tags, tagOwner+owner)
}
