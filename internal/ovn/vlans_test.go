package ovn

import (
	"fmt"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// A change that is reported twice counts once. Otherwise the allocator would count too
// few VLAN ids in use.
func TestVLANRemovedTwice(t *testing.T) {
	t.Parallel()
	row := func(uuid string, tag int) *nbdb.LogicalSwitchPort {
		parent := "vm1"
		return &nbdb.LogicalSwitchPort{UUID: uuid, Name: uuid, ParentName: &parent, Tag: &tag}
	}
	s := newVLANAllocator("c1")
	for tag := 1; tag <= rows.MaxVLAN; tag++ {
		s.add(row(fmt.Sprint("p", tag), tag))
	}
	last, moved := row(fmt.Sprint("p", rows.MaxVLAN), rows.MaxVLAN), row(fmt.Sprint("p", rows.MaxVLAN), 1)
	if _, freed := s.update(last, moved); freed != "vm1" {
		t.Errorf("a tag came free behind %q", freed)
	}
	if _, freed := s.update(last, moved); freed != "" || s.count["vm1"] != rows.MaxVLAN-1 {
		t.Errorf("the same again: freed %q, %d in use", freed, s.count["vm1"])
	}
	s.update(moved, nil)
	s.update(moved, nil)
	if n := s.count["vm1"]; n != rows.MaxVLAN-1 {
		t.Errorf("%d are in use: tag 1 has another user", n)
	}
}
