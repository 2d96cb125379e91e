package neutron

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Our tags. They say whose an object is. Neutron takes tags only after the
// object is made, so until then the description says it, and only then.
const (
	tagOwner = "isthmus-owner="
	tagUnit  = "isthmus-unit="
	tagMore  = "isthmus-unit-more=" // the rest of a unit that is too long for one tag
	tagOurs  = "isthmus-"
	// tagSubport is on ports that are to be behind others: when one is not any
	// more, Neutron takes its device_owner away, which others are found by.
	tagSubport = "isthmus-subport"
)

// longest is what Neutron takes of a name, a description or a tag.
const longest = 255

// mark is whose an object is.
type mark struct {
	owner string
	unit  intent.Unit
}

func (m mark) tags() []string {
	most := longest - len(tagMore)
	first, more := string(m.unit), ""
	if len(first) > most {
		first, more = first[:most], first[most:]
	}
	tags := []string{tagOwner + m.owner, tagUnit + first}
	if more != "" {
		tags = append(tags, tagMore+more)
	}
	return sorted(tags)
}

// tagsOf are the tags of what has such fields.
func (m mark) tagsOf(f fields) []string {
	if nests(f) {
		return sorted(append(m.tags(), tagSubport))
	}
	return m.tags()
}

func (m mark) description() string {
	return cut(tagOwner + m.owner + "," + tagUnit + string(m.unit))
}

// unitOf is the unit of owner that has an object; false if none has.
func unitOf(owner string, o object) (intent.Unit, bool) {
	by, first, more := "", "", ""
	for _, t := range o.tags {
		switch {
		case strings.HasPrefix(t, tagOwner):
			by = t[len(tagOwner):]
		case strings.HasPrefix(t, tagUnit):
			first = t[len(tagUnit):]
		case strings.HasPrefix(t, tagMore):
			more = t[len(tagMore):]
		}
	}
	if by != "" {
		return intent.Unit(first + more), by == owner
	}
	text, _ := o.fields["description"].(string)
	unit, born := strings.CutPrefix(text, tagOwner+owner+","+tagUnit)
	return intent.Unit(unit), born
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
func marked(o object) bool {
	return slices.ContainsFunc(o.tags, func(t string) bool { return strings.HasPrefix(t, tagOwner) })
}

// retag puts our tags in place of those of ours that are there; others stay.
func retag(have, ours []string) []string {
	kept := slices.DeleteFunc(slices.Clone(have), func(t string) bool { return strings.HasPrefix(t, tagOurs) })
	return sorted(append(kept, ours...))
}

// cut shortens a text to what Neutron takes; a hash keeps the rest apart.
func cut(text string) string {
	if len(text) <= longest {
		return text
	}
	sum := fmt.Sprintf("-%x", sha256.Sum256([]byte(text)))[:17]
	return text[:longest-len(sum)] + sum
}

// sorted is a set's one form: in order, no word twice, nil if empty.
func sorted(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	out := slices.Clone(words)
	slices.Sort(out)
	return slices.Compact(out)
}
