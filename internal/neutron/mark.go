package neutron

import (
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// tagSubport is on ports that are to be behind others: when one is not any
// more, Neutron takes its device_owner away, which others are found by.
const tagSubport = openstack.TagPrefix + "subport"

// mark is whose an object is.
type mark struct {
	owner string
	unit  intent.Unit
}

func (m mark) tags() []string { return openstack.Owner{Cluster: m.owner, Unit: m.unit}.Tags() }

// tagsOf are the tags of what has such fields.
func (m mark) tagsOf(f fields) []string {
	if nests(f) {
		return sorted(append(m.tags(), tagSubport))
	}
	return m.tags()
}

func (m mark) description() string {
	return openstack.Owner{Cluster: m.owner, Unit: m.unit}.Description()
}

// unitOf is the unit of owner that has an object; false if none has.
func unitOf(owner string, o object) (intent.Unit, bool) {
	description, _ := o.fields["description"].(string)
	return openstack.UnitOf(owner, o.tags, description)
}

// has tells whether an object is m's.
func (m mark) has(o object) bool {
	if !marked(o) {
		return o.fields["description"] == m.description()
	}
	unit, ours := unitOf(m.owner, o)
	return ours && unit == m.unit
}

// marked tells whether an object's tags say whose it is.
func marked(o object) bool { return openstack.HasOwnerTag(o.tags) }

// sorted is a set's one form: in order, no word twice, nil if empty.
func sorted(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	out := slices.Clone(words)
	slices.Sort(out)
	return slices.Compact(out)
}
