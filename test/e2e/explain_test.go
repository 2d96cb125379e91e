//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/reach"
)

// explain logs the state of OVN for a case that fails, and helps to find the faulty program. If
// a full recomputation changes flows, ovn-controller is at fault. If a purge of the flow cache
// changes the result, the switch is.
func (s *policyWorld) explain(t *testing.T, c reach.Case, rows []reach.Row) {
	t.Helper()
	for _, argv := range [][]string{
		{"ovn-nbctl", "--columns=name,addresses", "list", "Logical_Switch_Port"},
		{"ovn-nbctl", "--columns=name,ports,acls", "list", "Port_Group"},
		{"ovn-nbctl", "--columns=_uuid,direction,priority,match,action", "list", "ACL"},
		{"ovn-sbctl", "--columns=name,addresses", "list", "Address_Set"},
	} {
		out, err := s.try(t, argv...)
		t.Logf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	before := s.flows(t)
	s.onNodes(t, "ovn-appctl", "-t", "ovn-controller", "inc-engine/recompute")
	s.run(t, "ovn-nbctl", "--wait=hv", "sync")
	for node, now := range s.flows(t) {
		t.Logf("flows of %s that are worked out anew, -before +after:\n%s", node, strings.Join(changes(before[node], now), "\n"))
	}
	t.Logf("with flows that are worked out anew: %v", s.recheckRows(t, c, rows))
	for node, cached := range s.onNodes(t, "ovs-appctl", "dpctl/dump-flows", "-m") {
		t.Logf("the cache of %s:\n%s", node, cached)
	}
	s.onNodes(t, "ovs-appctl", "revalidator/purge")
	t.Logf("without what the switches keep in their cache: %v", s.recheckRows(t, c, rows))
}

// recheckRows returns the error of the last try after up to 10 s, or nil once all rows are right.
func (s *policyWorld) recheckRows(t *testing.T, c reach.Case, rows []reach.Row) error {
	t.Helper()
	wrong := s.checkRows(t, c, rows)
	for deadline := time.Now().Add(10 * time.Second); wrong != nil && time.Now().Before(deadline); {
		wrong = s.checkRows(t, c, rows)
	}
	return wrong
}

// onNodes runs a command on both nodes and returns the output by node.
func (s *policyWorld) onNodes(t *testing.T, argv ...string) map[string]string {
	t.Helper()
	output := map[string]string{}
	for _, node := range []string{"node1", "node2"} {
		output[node] = s.run(t, append([]string{"isthmus-lab", "exec", node, "--"}, argv...)...)
	}
	return output
}

// flows returns the flows of both nodes' switches by node, without counters.
func (s *policyWorld) flows(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	for node, output := range s.onNodes(t, "ovs-ofctl", "--no-stats", "dump-flows", "br-int") {
		all[node] = map[string]bool{}
		for line := range strings.Lines(output) {
			all[node][strings.TrimSpace(line)] = true
		}
	}
	return all
}

func changes(before, after map[string]bool) []string {
	var all []string
	for _, line := range slices.Sorted(maps.Keys(before)) {
		if !after[line] {
			all = append(all, "-"+line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(after)) {
		if !before[line] {
			all = append(all, "+"+line)
		}
	}
	return all
}
