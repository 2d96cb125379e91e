// Package arch holds the rules of the code's layout: which of our packages may
// import which and why, and how large files, functions, packages and types may be.
// Its tests check the module against these rules. It imports none of our packages,
// and no package imports it.
package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the prefix of all our import paths.
const Module = "github.com/isthmus-cni/isthmus"

// Rule says which of our packages one of our packages may import.
type Rule struct {
	// May are paths below the module. "internal/ovn" also allows the packages
	// below it; "*" allows all.
	May []string
	// Why is the reason, which the test prints when a package breaks the rule.
	Why string
}

// Rules are the rules by path; docs/design.md shows the layout. The rule with the
// longest path that is the package's own, or above it, applies. A package without a
// rule fails the test: each new package is a decision, which is recorded here.
var Rules = map[string]Rule{
	"api": {
		Why: "the API is what others import; it drags nothing of ours along",
	},
	"internal/intent": {
		Why: "the words both fabrics share know neither of them",
	},
	"internal/settings": {
		Why: "daemons, plugin and lab share it",
	},
	"internal/decide": {
		May: []string{"api", "internal/intent", "internal/decide"},
		Why: "deciding is a function of facts: no database, no API calls, no machine",
	},
	"internal/decide/policy": {
		May: []string{"internal/intent"},
		Why: "what NetworkPolicies mean does not depend on how a pod gets its port",
	},
	"internal/ipam": {
		Why: "a pool is a value",
	},
	"internal/retry": {
		Why: "it repeats a call and knows nothing of it",
	},
	"internal/signal": {
		Why: "one channel",
	},
	"internal/ovn": {
		May: []string{"internal/intent", "internal/ovn", "internal/ovsdb", "internal/retry", "internal/signal"},
		Why: "the fabric knows intents and OVN, not Kubernetes: libovsdb's types stop here",
	},
	"internal/ovn/rows": {
		May: []string{"internal/intent", "internal/ovn/nbdb"},
		Why: "it turns values into values: no database, no clock",
	},
	"internal/ovsdb": {
		May: []string{"internal/retry", "internal/signal", "internal/ovsdb"},
		Why: "a session with any OVSDB server knows no schema",
	},
	"internal/openstack": {
		May: []string{"internal/intent", "internal/openstack", "internal/retry"},
		Why: "a session with OpenStack knows no resource",
	},
	"internal/portpool": {
		May: []string{"internal/intent", "internal/retry", "internal/signal"},
		Why: "the pool knows Neutron by a small interface of its own",
	},
	"internal/neutron": {
		May: []string{"internal/intent", "internal/neutron", "internal/openstack", "internal/portpool", "internal/retry", "internal/signal"},
		Why: "the fabric knows intents and Neutron, not Kubernetes: gophercloud's types stop here",
	},
	"internal/neutron/client": {
		May: []string{"internal/intent", "internal/neutron/plan", "internal/neutron/trunk", "internal/openstack"},
		Why: "it sends what it is told and remembers nothing",
	},
	"internal/neutron/plan": {
		May: []string{"internal/intent", "internal/neutron/trunk", "internal/openstack"},
		Why: "what is wanted and in which order is a function of facts: no calls",
	},
	"internal/neutron/trunk": {
		May: []string{"internal/intent", "internal/retry", "internal/signal"},
		Why: "it knows trunks, not whose ports are on them",
	},
	"internal/octavia": {
		May: []string{"internal/intent", "internal/octavia", "internal/openstack", "internal/retry", "internal/signal"},
		Why: "as internal/neutron",
	},
	"internal/octavia/octaviatest": {
		May: []string{"internal/neutron/neutrontest"},
		Why: "the two fakes together are one cloud",
	},
	"internal/plug": {
		May: []string{"internal/intent"},
		Why: "it lists steps and does none",
	},
	"internal/netdev": {
		May: []string{"internal/plug", "internal/offload", "internal/ovn/vswitch", "internal/ovsdb", "internal/retry", "internal/signal", "internal/netdev"},
		Why: "it does steps and decides none; of OVN it knows the model of the node's own switch",
	},
	"internal/nodenet": {
		May: []string{"internal/netdev", "internal/offload", "internal/retry", "internal/signal", "internal/nodenet"},
		Why: "it makes a node's own network as it is told, whoever tells it",
	},
	"internal/offload": {
		Why: "one ioctl",
	},
	"internal/cniwire": {
		Why: "the CNI plugin links it and must stay a few MB",
	},
	"internal/poolwire": {
		Why: "both ends link it, and neither the other",
	},
	"internal/unit": {
		May: []string{"api", "internal/intent"},
		Why: "the generic unit knows no kind and no fabric",
	},
	"internal/daemon": {
		May: []string{"internal/settings"},
		Why: "what both daemons share knows neither",
	},
	"internal/app/agent": {
		May: []string{"*"},
		Why: "wiring",
	},
	"internal/app/agent/claim": {
		May: []string{"api", "internal/cniwire", "internal/intent", "internal/nodenet", "internal/plug"},
		Why: "what a claim means on a node is a function of the claim: no API calls, no machine; of nodenet it makes values",
	},
	"internal/app/agent/nodelock": {
		Why: "it knows one file",
	},
	"internal/app/agent/plugmode": {
		May: []string{"api", "internal/daemon", "internal/plug", "internal/retry"},
		Why: "it detects how pods are plugged and plugs none",
	},
	"internal/app/controller": {
		May: []string{"*"},
		Why: "wiring",
	},
	"internal/ko": {
		May: []string{"api", "internal/settings", "internal/intent", "internal/ovn", "internal/neutron", "internal/octavia", "internal/openstack", "internal/portpool", "internal/poolwire", "internal/retry"},
		Why: "the plugin talks to the cluster and, to clean up, to the fabrics: what is ours there only they know; not to the daemons' insides",
	},
	"internal/lab": {
		May: []string{"api", "internal/settings", "internal/lab"},
		Why: "the lab runs the product as anybody would and links none of it",
	},
	"internal/kubetest": {
		May: []string{"api", "internal/settings"},
		Why: "it starts an API server for whoever tests",
	},
	"internal/walk": {
		Why: "it knows what pages look like, not what they are about",
	},
	"internal/reach": {
		May: []string{"internal/intent"},
		Why: "it says what passes, and must not know why",
	},
	"internal/arch": {
		Why: "it looks at the code from outside",
	},
	"cmd": {
		May: []string{"*"},
		Why: "a main of few lines",
	},
	"test": {
		May: []string{"*"},
		Why: "tests may look anywhere",
	},
}

// only has the packages that few others may import, each with these importers.
var only = map[string][]string{
	"internal/app":  {"cmd", "internal/app", "test"},
	"internal/lab":  {"cmd/isthmus-lab", "internal/lab", "test"},
	"internal/walk": {"test"},
	"internal/arch": nil,
}

// Limits on sizes, in lines or methods. A reviewer can keep a package in mind that
// takes an afternoon to read, and a type whose methods fit on one screen.
const (
	fileLines    = 400
	mainLines    = 30 // of a command's main.go
	funcLines    = 60
	packageLines = 2000 // without tests and generated files
	typeMethods  = 25
)

// exceptions are the packages ("internal/ovn") and types ("internal/ovn.Fabric")
// that may be larger than the limits, each with the reason. An exception that is
// no longer needed fails the test.
var exceptions = map[string]string{
	"internal/neutron.Fabric": "about 70 methods, because what hands out the pool's ports, the index of groups and the applier share its lock; " +
		"cut these out next",
	"internal/neutron/neutrontest.call":  oneMethodPerCall,
	"internal/neutron/neutrontest.Cloud": oneMethodPerCall,
}

const oneMethodPerCall = "one method for each API call that the fake answers"

// Banned are package names that say nothing.
var Banned = []string{"util", "utils", "common", "types", "manager", "helpers", "helper", "misc", "base", "core", "lib", "interfaces"}

// Imports returns the errors in a package's imports; nil if there are none. pkg and
// imports are paths below the module.
func Imports(pkg string, imports []string) []string {
	at, rule, ok := ruleOf(pkg)
	if !ok {
		return []string{fmt.Sprintf("%s: no rule says what it may import; add one to internal/arch and to the layout in docs/design.md", pkg)}
	}
	var wrong []string
	for _, i := range imports {
		if !allowed(rule.May, i) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s, but %s may import only %s: %s", pkg, i, at, list(rule.May), rule.Why))
		}
		for target, importers := range only {
			if under(i, target) && !under(pkg, target) && !allowed(importers, pkg) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which is only for %s", pkg, i, list(importers)))
			}
		}
	}
	return wrong
}

// ruleOf returns the rule with the longest path that is pkg or above it, and that
// path. ok is false if there is none.
func ruleOf(pkg string) (string, Rule, bool) {
	for at := pkg; at != ""; at = parent(at) {
		if r, ok := Rules[at]; ok {
			return at, r, true
		}
	}
	return "", Rule{}, false
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

func under(path, top string) bool { return path == top || strings.HasPrefix(path, top+"/") }

func allowed(tops []string, path string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return top == "*" || under(path, top) })
}

func list(words []string) string {
	if len(words) == 0 {
		return "nothing of ours"
	}
	return strings.Join(words, ", ")
}
