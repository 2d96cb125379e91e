package plan

import (
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// SubportTag is on ports that are created as subports: once such a port is on no trunk any
// more, Neutron clears its device_owner, by which other ports of ours are found.
const SubportTag = openstack.TagPrefix + "subport"

// Owner is the cluster and the unit that own an object.
type Owner struct {
	// Name is that of our cluster.
	Name string
	Unit intent.Unit
}

// Tags are the tags of an object that o owns, sorted.
func (o Owner) Tags() []string { return openstack.Owner{Cluster: o.Name, Unit: o.Unit}.Tags() }

// TagsOf are the tags of an object with such fields that o owns, sorted.
func (o Owner) TagsOf(f Fields) []string {
	if IsSubport(f) {
		return Sorted(append(o.Tags(), SubportTag))
	}
	return o.Tags()
}

// Description is that of an object that o owns and that may have no tags yet.
func (o Owner) Description() string {
	return openstack.Owner{Cluster: o.Name, Unit: o.Unit}.Description()
}

// UnitOf returns the unit of a cluster that owns an object; false if none does.
func UnitOf(cluster string, object Object) (intent.Unit, bool) {
	return openstack.UnitOf(cluster, object.Tags, object.Text("description"))
}

// Owns tells whether o owns an object.
func (o Owner) Owns(object Object) bool {
	if !IsTagged(object) {
		return object.Fields["description"] == o.Description()
	}
	unit, ours := UnitOf(o.Name, object)
	return ours && unit == o.Unit
}

// IsTagged tells whether an object's tags say who owns it.
func IsTagged(object Object) bool { return openstack.HasOwnerTag(object.Tags) }

// Sorted is a set's one form: in order, no word twice, nil if empty.
func Sorted(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	out := slices.Clone(words)
	slices.Sort(out)
	return slices.Compact(out)
}
