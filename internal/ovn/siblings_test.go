package ovn

import (
	"fmt"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// What is told twice counts once: else VLAN ids seem free behind a port that has none.
func TestATagThatIsTakenAwayTwiceIsCountedOnce(t *testing.T) {
	t.Parallel()
	row := func(uuid string, tag int) *nbdb.LogicalSwitchPort {
		parent := "vm1"
		return &nbdb.LogicalSwitchPort{UUID: uuid, Name: uuid, ParentName: &parent, Tag: &tag}
	}
	s := newSiblings("c1")
	for tag := 1; tag <= mostTags; tag++ {
		s.add(row(fmt.Sprint("p", tag), tag))
	}
	last, moved := row(fmt.Sprint("p", mostTags), mostTags), row(fmt.Sprint("p", mostTags), 1)
	if _, freed := s.change(last, moved); freed != "vm1" {
		t.Errorf("a tag came free behind %q", freed)
	}
	if _, freed := s.change(last, moved); freed != "" || s.count["vm1"] != mostTags-1 {
		t.Errorf("the same again: freed %q, %d in use", freed, s.count["vm1"])
	}
	s.change(moved, nil)
	s.change(moved, nil)
	if n := s.count["vm1"]; n != mostTags-1 {
		t.Errorf("%d are in use: tag 1 has another user", n)
	}
}
