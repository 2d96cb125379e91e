package rows

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// routePolicy adds one policy for each address family that the intent covers, and
// a static route for each next hop.
func (t *translation) routePolicy(r intent.RoutePolicy) {
	router := t.refRouter(r.Router, false)
	if r.From != "" {
		t.refGroup(r.From)
	}
	for _, six := range []bool{false, true} {
		hops := t.hops(r, six)
		if covered := r.Allow || len(hops) > 0; !covered || r.To.IsValid() && r.To.Addr().Is6() != six {
			continue
		}
		family := map[bool]string{false: "ip4", true: "ip6"}[six]
		key := prefixPolicy + strings.Join([]string{r.Router, strconv.Itoa(r.Priority), r.From, to(r), family}, "/")
		t.add(Row{
			ID: ID{nbdb.LogicalRouterPolicyTable, key}, referrer: router,
			columns: Columns{
				"priority": r.Priority, "match": match(r, family), "action": action(r), "nexthops": hops,
				"external_ids": t.marks(key, KeyRouter, r.Router),
			},
		})
		for _, hop := range hops {
			t.staticRoute(r, router, family, hop)
		}
	}
}

// staticRoute adds a route to a policy's next hop. OVN looks up a route before the
// policies, and drops packets that have none. If several routes have the same prefix,
// OVN chooses one by hash for packets that match no policy.
func (t *translation) staticRoute(r intent.RoutePolicy, router ref, family, hop string) {
	destination := cmp.Or(to(r), map[string]string{"ip4": "0.0.0.0/0", "ip6": "::/0"}[family])
	key := prefixRoute + strings.Join([]string{r.Router, destination, hop}, "/")
	route := Row{
		ID: ID{nbdb.LogicalRouterRouteTable, key}, referrer: router,
		columns: Columns{
			"ip_prefix": destination, "nexthop": hop, "external_ids": t.marks(key, KeyRouter, r.Router),
		},
	}
	t.rows[route.ID] = route // several policies may need the same route
}

// hops returns the policy's next hops of one address family.
func (t *translation) hops(r intent.RoutePolicy, six bool) set {
	s := set{}
	for _, h := range r.NextHops {
		if h.Is6() == six && !r.Allow {
			s = append(s, h.String())
		}
	}
	return setOf(s...)
}

func action(r intent.RoutePolicy) string {
	if r.Allow {
		return "allow"
	}
	return "reroute"
}

// to returns the destination as text; empty for any.
func to(r intent.RoutePolicy) string {
	if !r.To.IsValid() {
		return ""
	}
	return r.To.Masked().String()
}

// match returns column "match", in the language of ovn-sb(5), Logical_Flow. OVN
// names the address sets of port group G "G_ip4" and "G_ip6".
func match(r intent.RoutePolicy, family string) string {
	var terms []string
	if r.From != "" {
		terms = append(terms, family+".src == $"+r.From+"_"+family)
	}
	if r.To.IsValid() {
		terms = append(terms, family+".dst == "+to(r))
	}
	if len(terms) == 0 {
		return family
	}
	return strings.Join(terms, " && ")
}

func texts(prefixes []netip.Prefix) []string {
	var s []string
	for _, p := range prefixes {
		s = append(s, p.String())
	}
	return s
}
