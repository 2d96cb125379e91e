package openstack

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Tags of resources that we own. Most resources take tags only after they are created.
// Until then their description names the owner, if they have one.
const (
	// TagOwner is the prefix of the tag with the name of the cluster that owns a
	// resource.
	TagOwner = "isthmus-owner="
	// TagPrefix is the prefix of all our tags.
	TagPrefix = "isthmus-"

	tagUnit     = "isthmus-unit="
	tagUnitRest = "isthmus-unit-more=" // of a unit that is too long for one tag
)

// maxText is the maximum length of a name, a description or a tag in Neutron, in bytes.
const maxText = 255

// Owner is the cluster and the unit that own a resource.
type Owner struct {
	// Cluster is the name of our cluster.
	Cluster string
	// Unit is the unit that the resource was created for.
	Unit intent.Unit
}

// Tags returns the tags of a resource that o owns, sorted.
func (o Owner) Tags() []string {
	most := maxText - len(tagUnitRest)
	first, rest := string(o.Unit), ""
	if len(first) > most {
		first, rest = first[:most], first[most:]
	}
	tags := []string{TagOwner + o.Cluster, tagUnit + first}
	if rest != "" {
		tags = append(tags, tagUnitRest+rest)
	}
	slices.Sort(tags)
	return tags
}

// Description returns the description of a resource that o owns and that may
// have no tags yet.
func (o Owner) Description() string {
	return Shorten(TagOwner + o.Cluster + "," + tagUnit + string(o.Unit))
}

// UnitOf returns the unit of cluster that owns a resource, and false if cluster does not
// own it. The description counts only if no tag names an owner.
func UnitOf(cluster string, tags []string, description string) (intent.Unit, bool) {
	if owner, has := tagged(tags, TagOwner); has {
		first, _ := tagged(tags, tagUnit)
		rest, _ := tagged(tags, tagUnitRest)
		return intent.Unit(first + rest), owner == cluster
	}
	unit, ours := strings.CutPrefix(description, TagOwner+cluster+","+tagUnit)
	return intent.Unit(unit), ours
}

// HasOwnerTag reports whether tags name an owner, ours or another cluster.
func HasOwnerTag(tags []string) bool {
	_, has := tagged(tags, TagOwner)
	return has
}

// tagged returns the rest of the last tag that begins with prefix.
func tagged(tags []string, prefix string) (rest string, has bool) {
	for _, t := range tags {
		if text, is := strings.CutPrefix(t, prefix); is {
			rest, has = text, true
		}
	}
	return rest, has
}

// ReplaceTags returns have with ours in place of all tags with our prefix. Tags of other
// users stay. The result is sorted, and nil if it is empty.
func ReplaceTags(have, ours []string) []string {
	all := slices.DeleteFunc(slices.Clone(have), func(t string) bool { return strings.HasPrefix(t, TagPrefix) })
	all = append(all, ours...)
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Shorten cuts a text to the length that Neutron takes. A hash at the end makes different
// texts differ.
func Shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	sum := fmt.Sprintf("-%x", sha256.Sum256([]byte(text)))[:17]
	return text[:maxText-len(sum)] + sum
}
