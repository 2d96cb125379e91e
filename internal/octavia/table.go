package octavia

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Version is one of Octavia's API: 2.26 came with Zed.
type Version struct{ Major, Minor int }

func (v Version) atLeast(o Version) bool {
	return v.Major > o.Major || v.Major == o.Major && v.Minor >= o.Minor
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// parseVersion reads "v2.26".
func parseVersion(id string) (Version, bool) {
	var v Version
	n, _ := fmt.Sscanf(id, "v%d.%d", &v.Major, &v.Minor)
	return v, n == 2
}

// abilities are what a provider does, which is not what it takes: provider ovn
// answers 201 to session persistence and to timeouts, and ignores both.
type abilities struct {
	algorithm string
	// protocols are those beside TCP and UDP, with the API's version that has them.
	protocols map[string]Version
	// shared is the first version where two protocols may have the same port.
	shared                      Version
	affinity, timeouts, sources bool
	// single is true where calls for single members are quicker than one call
	// for all of a pool that changes little: ovn takes an eighth of a second
	// there for each member that stays as it is.
	single bool
}

// table has a line for each provider. What the line of ovn says was shown with
// version 3.0.0 of the provider (Zed): with session persistence SOURCE_IP, 12
// connections of one client went to two members in turn; with timeouts of one
// second, a connection lived on after eight; allowed_cidrs is refused when the
// address is already taken, and stays taken. TCP and UDP were shown by traffic,
// SCTP by the row that the provider makes for it. Providers have no version in
// Octavia's API, so a newer one that does more is not made use of. What the
// line of amphora says is Octavia's own word and was not shown here.
var table = map[string]abilities{
	"ovn": {
		algorithm: "SOURCE_IP_PORT",
		protocols: map[string]Version{"SCTP": {2, 23}},
		shared:    Version{2, 13},
		single:    true,
	},
	"amphora": {
		algorithm: "ROUND_ROBIN",
		protocols: map[string]Version{"SCTP": {2, 23}},
		shared:    Version{2, 13},
		affinity:  true, timeouts: true, sources: true,
	},
}

// abilitiesOf is what is known of a provider; one that is not in the table is
// asked for nothing special.
func abilitiesOf(provider string) abilities {
	if a, known := table[provider]; known {
		return a
	}
	return abilities{algorithm: "ROUND_ROBIN", shared: Version{2, 13}}
}

// refuse says what of a balancer the provider would not do. It is asked before
// anything is made.
func refuse(provider string, v Version, b intent.LoadBalancer) error {
	a := abilitiesOf(provider)
	var lacks []string
	ports := map[int]bool{}
	for _, l := range b.Listeners {
		lacks = append(lacks, a.lacks(l, v)...)
		if ports[l.Port] && !v.atLeast(a.shared) {
			lacks = append(lacks, fmt.Sprintf("the same port in two protocols (needs version %s of Octavia's API, this is %s)", a.shared, v))
		}
		ports[l.Port] = true
	}
	if len(lacks) == 0 {
		return nil
	}
	slices.Sort(lacks)
	return intent.Stop{Reason: "Unsupported", Why: fmt.Sprintf(
		"load balancer %s: Octavia's provider %s does not do %s: take it out of the Service", b.Name, provider, strings.Join(slices.Compact(lacks), ", "))}
}

func (a abilities) lacks(l intent.Listener, v Version) []string {
	var out []string
	if since, known := a.protocols[l.Protocol]; l.Protocol != "TCP" && l.Protocol != "UDP" && (!known || !v.atLeast(since)) {
		out = append(out, "protocol "+l.Protocol)
	}
	if l.Affinity && !a.affinity {
		out = append(out, "sessionAffinity")
	}
	if (l.ClientTimeout != 0 || l.MemberTimeout != 0) && !a.timeouts {
		out = append(out, "timeouts")
	}
	if len(l.Sources) > 0 && !a.sources {
		out = append(out, "loadBalancerSourceRanges")
	}
	return out
}
