package plan

import (
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// SubportTag is the tag of ports that are created as subports. Other ports of ours are
// found by their device_owner, but Neutron clears the device_owner of a port that is
// detached from its trunk.
const SubportTag = openstack.TagPrefix + "subport"

// Owner is the cluster and the unit that own an object.
type Owner struct {
	// Name is the name of our cluster.
	Name string
	Unit intent.Unit
}

// Tags returns the tags of an object that o owns, sorted.
func (o Owner) Tags() []string { return openstack.Owner{Cluster: o.Name, Unit: o.Unit}.Tags() }

// TagsOf returns the tags of an object with fields f that o owns, sorted.
func (o Owner) TagsOf(f Fields) []string {
	if IsSubport(f) {
		return Sorted(append(o.Tags(), SubportTag))
	}
	return o.Tags()
}

// Description returns the description of an object that o owns. It names the owner while
// the object has no tags.
func (o Owner) Description() string {
	return openstack.Owner{Cluster: o.Name, Unit: o.Unit}.Description()
}

// UnitOf returns the unit that owns an object, and false if no unit of the cluster does.
func UnitOf(cluster string, object Object) (intent.Unit, bool) {
	return openstack.UnitOf(cluster, object.Tags, object.Text("description"))
}

// Owns reports whether o owns an object.
func (o Owner) Owns(object Object) bool {
	if !IsTagged(object) {
		return object.Fields["description"] == o.Description()
	}
	unit, ours := UnitOf(o.Name, object)
	return ours && unit == o.Unit
}

// IsTagged reports whether an object's tags name an owner.
func IsTagged(object Object) bool { return openstack.HasOwnerTag(object.Tags) }

// Sorted returns the words in order and without duplicates, nil if there are none.
func Sorted(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	out := slices.Clone(words)
	slices.Sort(out)
	return slices.Compact(out)
}
