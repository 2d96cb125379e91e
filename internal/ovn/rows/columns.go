package rows

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// Columns are the columns of a row that we write, by name. The values are string,
// int, set, uuids, ints or pairs. reflect.DeepEqual can compare them, because sets
// are sorted and never nil.
type Columns map[string]any

type (
	set   []string          // of strings
	uuids []string          // of references to rows
	ints  []int             // an optional number
	pairs map[string]string // a map
)

func setOf(values ...string) set {
	s := append(set{}, values...)
	slices.Sort(s)
	return slices.Compact(s)
}

func uuidsOf(values []string) uuids { return uuids(setOf(values...)) }

func optional(s *string) set {
	if s == nil {
		return set{}
	}
	return set{*s}
}

func number(n *int) ints {
	if n == nil {
		return ints{}
	}
	return ints{*n}
}

func pairsOf(m map[string]string) pairs {
	if m == nil {
		return pairs{}
	}
	return maps.Clone(m)
}

// ColumnsOf returns the columns that we may write of a row of package nbdb. It panics
// for other types.
func ColumnsOf(m model.Model) Columns {
	switch r := m.(type) {
	case *nbdb.LogicalSwitch:
		return Columns{
			"name": r.Name, "other_config": pairsOf(r.OtherConfig), "load_balancer": uuidsOf(r.LoadBalancer),
			"external_ids": pairsOf(r.ExternalIDs),
		}
	case *nbdb.LogicalSwitchPort:
		return Columns{
			"name": r.Name, "type": r.Type, "addresses": setOf(r.Addresses...), "port_security": setOf(r.PortSecurity...),
			"options": pairsOf(r.Options), "parent_name": optional(r.ParentName), "tag": number(r.Tag),
			"external_ids": pairsOf(r.ExternalIDs),
		}
	case *nbdb.LogicalRouter:
		return Columns{"name": r.Name, "external_ids": pairsOf(r.ExternalIDs)}
	case *nbdb.LogicalRouterPort:
		return Columns{
			"name": r.Name, "mac": r.MAC, "networks": setOf(r.Networks...), "external_ids": pairsOf(r.ExternalIDs),
		}
	case *nbdb.LogicalRouterPolicy:
		return Columns{
			"priority": r.Priority, "match": r.Match, "action": r.Action, "nexthops": setOf(r.Nexthops...),
			"external_ids": pairsOf(r.ExternalIDs),
		}
	case *nbdb.LogicalRouterRoute:
		return Columns{"ip_prefix": r.IPPrefix, "nexthop": r.Nexthop, "external_ids": pairsOf(r.ExternalIDs)}
	case *nbdb.PortGroup:
		return Columns{"name": r.Name, "external_ids": pairsOf(r.ExternalIDs)}
	}
	panic(fmt.Sprintf("no columns for %T", m))
}

// ids returns the external_ids.
func (c Columns) ids() pairs {
	p, _ := c["external_ids"].(pairs)
	return p
}

func (c Columns) name() string {
	s, _ := c["name"].(string)
	return s
}

// wire returns a value as RFC 7047 encodes it.
func wire(v any) any {
	switch v := v.(type) {
	case set:
		return ovsSet(v, func(s string) any { return s })
	case uuids:
		return ovsSet(v, func(s string) any { return ovsdb.UUID{GoUUID: s} })
	case ints:
		return ovsSet(v, func(n int) any { return n })
	case pairs:
		m := ovsdb.OvsMap{GoMap: map[any]any{}}
		for k, s := range v {
			m.GoMap[k] = s
		}
		return m
	}
	return v
}

func ovsSet[T any](values []T, atom func(T) any) ovsdb.OvsSet {
	s := ovsdb.OvsSet{GoSet: []any{}}
	for _, v := range values {
		s.GoSet = append(s.GoSet, atom(v))
	}
	return s
}

// isDefault returns whether a new row has the value if it is not set.
func isDefault(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case int:
		return v == 0
	case set:
		return len(v) == 0
	case uuids:
		return len(v) == 0
	case ints:
		return len(v) == 0
	case pairs:
		return len(v) == 0
	}
	return false
}
