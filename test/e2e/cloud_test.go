//go:build e2e

package e2e

import "testing"

// neutron is the list of profile neutron; the last one takes Isthmus away and
// brings it back.
func (l *lab) neutron(t *testing.T) {
	t.Run("walk", l.walkBareMetal)
}

// vpc is the one that stands for Neutron's router1.
func (l *lab) vpc(t *testing.T) string {
	t.Helper()
	return "neutron-" + l.run(t, "openstack", "router", "show", "router1", "-f", "value", "-c", "id")
}
