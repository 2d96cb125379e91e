package rows

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// MaxVLAN is the highest VLAN id; the lowest is 1.
const MaxVLAN = 4094

// NoVLAN is the Wait's reason if all VLAN ids behind a parent port are in use.
const NoVLAN = "NoVLAN"

// port adds a switch port. The row records the port's groups, because its owner must
// know them when the port leaves a group.
func (t *translation) port(p intent.Port) {
	key := prefixPort + p.Name
	groups := map[string]ref{}
	for _, g := range p.Groups {
		groups[g] = t.refGroup(g)
	}
	marks := t.marks(key, KeyNetwork, p.Network)
	if len(groups) > 0 {
		marks[KeyGroups] = strings.Join(setOf(p.Groups...), " ")
	}
	t.add(Row{
		ID: ID{nbdb.LogicalSwitchPortTable, key}, referrer: t.refSwitch(p.Network), groups: groups,
		columns: Columns{
			"name": p.Name, "type": "", "addresses": addresses(p), "port_security": security(p),
			"options": options(p), "parent_name": parent(p), "tag": t.tag(p), "external_ids": marks,
		},
	})
}

// addresses returns column "addresses" of Logical_Switch_Port, see ovn-nb(5).
func addresses(p intent.Port) set {
	s := setOf(addressLine(p))
	if p.UnknownAddresses {
		s = setOf(append(s, "unknown")...)
	}
	return s
}

// security returns column "port_security". An empty column allows any address.
func security(p intent.Port) set {
	if p.UnknownAddresses {
		return set{}
	}
	return setOf(addressLine(p))
}

func addressLine(p intent.Port) string {
	words := []string{string(p.MAC)}
	for _, a := range slices.SortedFunc(slices.Values(p.Addrs), netip.Addr.Compare) {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// options returns column "options". iface-id-ver lets only the pod's own interface
// bind the port. A port that has a parent is not bound by an interface.
func options(p intent.Port) pairs {
	if p.Version == "" || p.Parent != "" {
		return pairs{}
	}
	return pairs{"iface-id-ver": p.Version}
}

func parent(p intent.Port) set {
	if p.Parent == "" {
		return set{}
	}
	return set{p.Parent}
}

// tag returns column "tag": the VLAN id of a port that has a parent.
func (t *translation) tag(p intent.Port) ints {
	if p.Parent == "" {
		return ints{}
	}
	tag, ok := t.VLANs[p.Name]
	if !ok {
		t.waitFor(NoVLAN, "a VLAN id behind port %s: all %d are in use there, delete pods on that node", p.Parent, MaxVLAN)
	}
	return ints{tag}
}

// PortOf is the reverse of Translate: it returns the port that a row was made for,
// with the fields that the row has.
func PortOf(r *nbdb.LogicalSwitchPort) intent.Port {
	p := intent.Port{
		Name: r.Name, Network: r.ExternalIDs[KeyNetwork], Version: r.Options["iface-id-ver"],
		Groups: RecordedGroups(r.ExternalIDs),
	}
	for _, line := range r.Addresses {
		words := strings.Fields(line)
		if line == "unknown" || len(words) == 0 {
			p.UnknownAddresses = p.UnknownAddresses || line == "unknown"
			continue
		}
		p.MAC = intent.MAC(words[0])
		for _, w := range words[1:] {
			if a, err := netip.ParseAddr(w); err == nil {
				p.Addrs = append(p.Addrs, a)
			}
		}
	}
	if r.ParentName != nil && r.Tag != nil {
		p.Parent, p.Tag = *r.ParentName, *r.Tag
	}
	return p
}
