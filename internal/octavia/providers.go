package octavia

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Version is a version of Octavia's API. Zed has 2.26.
type Version struct{ Major, Minor int }

func (v Version) atLeast(o Version) bool {
	return v.Major > o.Major || v.Major == o.Major && v.Minor >= o.Minor
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// parseVersion parses a version such as "v2.26". It returns false if id has another form.
func parseVersion(id string) (Version, bool) {
	var v Version
	n, _ := fmt.Sscanf(id, "v%d.%d", &v.Major, &v.Minor)
	return v, n == 2
}

// capabilities are what a provider really supports. That is less than what it accepts:
// provider ovn answers 201 to session persistence and to timeouts, and ignores both.
type capabilities struct {
	algorithm string
	// protocols has the supported protocols other than TCP and UDP, each with the first
	// version of the API that has it.
	protocols map[string]Version
	// sharedPorts is the first version in which two listeners with different protocols
	// may have the same port.
	sharedPorts                 Version
	affinity, timeouts, sources bool
	// singleMembers is true if a small change of a pool is faster with a call for each
	// changed member than with one call for all. In a call for all, ovn takes an eighth
	// of a second for each member, changed or not.
	singleMembers bool
}

// providers has the known capabilities by provider. Those of ovn were tested with version 3.0.0
// of the provider (Zed). With session persistence SOURCE_IP, 12 connections of one client went
// to two members in turn. With timeouts of 1 s, a connection was still open after 8 s. ovn
// refuses allowed_cidrs only after it has taken the address, and the address stays taken. TCP
// and UDP were tested with traffic, SCTP by the row that the provider writes into OVN. The API
// does not show the provider's version, so this package does not use what a newer ovn supports
// in addition. The capabilities of amphora are from Octavia's documentation.
var providers = map[string]capabilities{
	"ovn": {
		algorithm:     "SOURCE_IP_PORT",
		protocols:     map[string]Version{"SCTP": {2, 23}},
		sharedPorts:   Version{2, 13},
		singleMembers: true,
	},
	"amphora": {
		algorithm:   "ROUND_ROBIN",
		protocols:   map[string]Version{"SCTP": {2, 23}},
		sharedPorts: Version{2, 13},
		affinity:    true, timeouts: true, sources: true,
	},
}

// capabilitiesOf returns the capabilities of a provider. For an unknown provider it
// returns those that every provider has.
func capabilitiesOf(provider string) capabilities {
	if a, known := providers[provider]; known {
		return a
	}
	return capabilities{algorithm: "ROUND_ROBIN", sharedPorts: Version{2, 13}}
}

// checkSupport returns intent.Stop if b needs something that the provider does not
// support. It is called before anything is created.
func checkSupport(provider string, v Version, b intent.LoadBalancer) error {
	a := capabilitiesOf(provider)
	var missing []string
	ports := map[int]bool{}
	for _, l := range b.Listeners {
		missing = append(missing, a.missing(l, v)...)
		if ports[l.Port] && !v.atLeast(a.sharedPorts) {
			missing = append(missing, fmt.Sprintf("the same port in two protocols (needs version %s of Octavia's API, this is %s)", a.sharedPorts, v))
		}
		ports[l.Port] = true
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return intent.Stop{Reason: "Unsupported", Why: fmt.Sprintf(
		"load balancer %s: Octavia's provider %s does not support %s: remove it from the Service", b.Name, provider, strings.Join(slices.Compact(missing), ", "))}
}

// missing returns the features of a listener that the provider does not support.
func (a capabilities) missing(l intent.Listener, v Version) []string {
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
