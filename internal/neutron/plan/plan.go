package plan

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Verb is what a step does.
type Verb string

// The verbs.
const (
	Create Verb = "create"
	Update Verb = "update"
	Tag    Verb = "tag"
	// Attach puts a port behind another, detach takes it away from there.
	Attach Verb = "attach"
	Detach Verb = "detach"
	Delete Verb = "delete"
)

// Removes tells whether nothing is left to do if what the step is about is gone.
func (v Verb) Removes() bool { return v == Delete || v == Detach }

// Step is one call, or one of several that go in one.
type Step struct {
	Verb Verb
	Object
}

// String is a step for people and for golden files.
func (s Step) String() string {
	words := []string{string(s.Verb), string(s.Kind), s.Name}
	if s.ID != "" {
		words = append(words, "["+s.ID+"]")
	}
	for _, k := range slices.Sorted(maps.Keys(s.Fields)) {
		if s.Verb == Delete {
			break
		}
		words = append(words, k+"="+show(s.Fields[k]))
	}
	if len(s.Tags) > 0 {
		words = append(words, "tags="+strings.Join(s.Tags, ","))
	}
	return strings.Join(words, " ")
}

func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case FixedIPs:
		return strings.Join(v.texts(), ",")
	case Ref:
		return "<" + string(v.Kind) + " " + v.Name + ">"
	}
	return strings.Trim(fmt.Sprintf("%v", v), "[]")
}

// immutable are the fields that Neutron cannot change, or not of a port that is
// bound: another value needs another object.
var immutable = map[Kind][]string{
	KindSubnet:          {"network_id", "cidr", "ip_version"},
	KindRouterInterface: {"router_id", "subnet_id"},
	KindPort:            {"network_id", "mac_address"},
	KindRule:            append([]string{"security_group_id"}, ruleFields...),
}

// TagsOnCreate tells which kinds can be tagged in the call that makes them.
type TagsOnCreate map[Kind]bool

// Diff says which steps turn have into want: what must go, in reverse order of
// creation, for it may hold addresses that others want; then, in order, what
// is missing or differs. Of several that have the same name one stays.
func Diff(have, want []Object, born TagsOnCreate) []Step {
	d := &differ{have: have, kept: map[Ref]Object{}, born: born}
	for _, w := range slices.SortedFunc(slices.Values(want), byOrder) {
		d.object(w)
	}
	return append(d.deletes(), d.steps...)
}

type differ struct {
	have  []Object
	kept  map[Ref]Object // by what is wanted
	born  TagsOnCreate
	steps []Step
}

// object finds the one that is wanted, or makes it.
func (d *differ) object(w Object) {
	w.Fields = d.resolve(w.Fields)
	h, found := d.choose(w)
	if !found {
		d.create(w)
		return
	}
	d.kept[Ref{Kind: w.Kind, Name: w.Name}] = h
	changed := differing(h.Fields, w.Fields)
	parent, moves := changed["parent"]
	delete(changed, "parent")
	if moves && IsSubport(h.Fields) && h.Fields["parent"] != nil {
		d.steps = append(d.steps, Step{Verb: Detach, Object: Object{Kind: h.Kind, Name: w.Name, ID: h.ID, Fields: Fields{"parent": h.Fields["parent"]}}})
	}
	if len(changed) > 0 {
		d.steps = append(d.steps, Step{Verb: Update, Object: Object{Kind: h.Kind, Name: w.Name, ID: h.ID, Fields: changed}})
	}
	if tags := openstack.ReplaceTags(h.Tags, w.Tags); w.Kind.Tagged() && !slices.Equal(tags, Sorted(h.Tags)) {
		d.steps = append(d.steps, Step{Verb: Tag, Object: Object{Kind: h.Kind, Name: w.Name, ID: h.ID, Tags: tags}})
	}
	if moves {
		d.steps = append(d.steps, AttachStep(Object{Kind: h.Kind, Name: w.Name, ID: h.ID}, parent, w.Fields["vlan"]))
	}
}

// AttachStep puts a port behind another, with a VLAN id that it had if that is
// free. All that is to be so from the start comes before.
func AttachStep(o Object, parent, vlan any) Step {
	o.Fields = Fields{"parent": parent, "vlan": vlan}
	return Step{Verb: Attach, Object: o}
}

func (d *differ) create(w Object) {
	tags := w.Tags
	if !d.born[w.Kind] {
		w.Tags = nil
	}
	d.steps = append(d.steps, Step{Verb: Create, Object: w})
	if w.Tags == nil && len(tags) > 0 {
		d.steps = append(d.steps, Step{Verb: Tag, Object: Object{Kind: w.Kind, Name: w.Name, Tags: tags}})
	}
	if parent, nested := w.Fields["parent"]; nested {
		d.steps = append(d.steps, AttachStep(Object{Kind: w.Kind, Name: w.Name}, parent, w.Fields["vlan"]))
	}
}

// choose is the object that can become what is wanted; the one with the least
// to change, and of equals the first by id.
func (d *differ) choose(w Object) (Object, bool) {
	var best Object
	least := -1
	for _, h := range slices.SortedFunc(slices.Values(d.have), byOrder) {
		if h.Kind != w.Kind || d.stays(h) || !CanBecome(h, w) {
			continue
		}
		if n := len(differing(h.Fields, w.Fields)); least < 0 || n < least {
			best, least = h, n
		}
	}
	return best, least >= 0
}

// CanBecome tells whether have can be changed to want. A port from the pool has
// no name of its own yet.
func CanBecome(h, w Object) bool {
	if h.Name != w.Name && (h.Kind != KindPort || h.Name != PooledName) {
		return false
	}
	if h.Kind == KindPort && !canBeSubport(h, w) {
		return false
	}
	changed := differing(h.Fields, w.Fields)
	return !slices.ContainsFunc(immutable[w.Kind], func(k string) bool { _, differs := changed[k]; return differs })
}

// canBeSubport: a port that is bound to a node by itself never gets behind another,
// nor the other way round.
func canBeSubport(h, w Object) bool {
	if IsSubport(w.Fields) {
		return IsSubport(h.Fields) || h.Text("binding:host_id") == ""
	}
	return !IsSubport(h.Fields)
}

// resolve puts ids in place of refs to what stays.
func (d *differ) resolve(f Fields) Fields {
	out := maps.Clone(f)
	for k, v := range f {
		if r, is := v.(Ref); is {
			if h, stays := d.kept[r]; stays {
				out[k] = h.ID
			}
		}
	}
	return out
}

// deletes begins with the ports behind others: Neutron deletes none that is.
func (d *differ) deletes() []Step {
	var steps, detaches []Step
	for _, h := range slices.SortedFunc(slices.Values(d.have), func(a, b Object) int { return byOrder(b, a) }) {
		if d.stays(h) || d.goesWith(h) {
			continue
		}
		if h.Fields["parent"] != nil {
			detaches = append(detaches, Step{Verb: Detach, Object: Object{Kind: h.Kind, Name: h.Name, ID: h.ID, Fields: Fields{"parent": h.Fields["parent"]}}})
		}
		steps = append(steps, Step{Verb: Delete, Object: Object{Kind: h.Kind, Name: h.Name, ID: h.ID, Fields: h.Fields}})
	}
	return append(detaches, steps...)
}

// Match returns which of the objects that are there are, or can become, the wanted ones.
func Match(have, want []Object) map[Ref]Object {
	d := &differ{have: have, kept: map[Ref]Object{}}
	for _, w := range want {
		if h, found := d.choose(w); found {
			d.kept[Ref{Kind: w.Kind, Name: w.Name}] = h
		}
	}
	return d.kept
}

func (d *differ) stays(h Object) bool {
	for _, k := range d.kept {
		if k.Is(h) {
			return true
		}
	}
	return false
}

// Is tells whether both are the same of Neutron's. A router's port may join
// several subnets.
func (o Object) Is(h Object) bool {
	return o.Kind == h.Kind && o.ID == h.ID && (o.Kind != KindRouterInterface || o.Name == h.Name)
}

// goesWith tells whether an object goes by itself, with another.
func (d *differ) goesWith(h Object) bool {
	if h.Kind != KindRule {
		return false
	}
	return !slices.ContainsFunc(d.have, func(g Object) bool {
		return g.Kind == KindGroup && g.ID == h.Fields["security_group_id"] && d.stays(g)
	})
}

// createOnly are fields that matter when an object is made, and cannot be changed
// or asked for: whose project it is in, and where its prefix comes from.
var createOnly = []string{"project_id", "subnetpool_id", "prefixlen", "vlan", "node"}

// differing are the wanted fields that are not so.
func differing(have, want Fields) Fields {
	out := Fields{}
	for k, w := range want {
		if k == "device_owner" && IsSubport(want) {
			continue // Neutron says it, and takes nobody else's word
		}
		if !slices.Contains(createOnly, k) && !satisfies(have[k], w) {
			out[k] = w
		}
	}
	return out
}

// satisfies tells whether a field is as it is wanted.
func satisfies(have, want any) bool {
	switch w := want.(type) {
	case Set:
		h, _ := have.(Set)
		return slices.Equal(Sorted(h), Sorted(w))
	case FixedIPs:
		h, _ := have.(FixedIPs)
		return w.met(h)
	}
	return reflect.DeepEqual(have, want)
}

// met tells whether addresses are those that are wanted, where a wanted one
// may leave open what Neutron chooses.
func (w FixedIPs) met(have FixedIPs) bool {
	left := slices.Clone(have)
	for _, ip := range w {
		i := slices.IndexFunc(left, func(h FixedIP) bool {
			return (ip.Subnet == "" || ip.Subnet == h.Subnet) && (ip.Addr == "" || ip.Addr == h.Addr)
		})
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}

func (w FixedIPs) texts() []string {
	var out []string
	for _, ip := range w {
		out = append(out, ip.Subnet+"@"+cmp.Or(ip.Addr, "any"))
	}
	return out
}

// OnlyNames tells whether steps only write whose a port is: those can wait, for nothing
// depends on them.
func OnlyNames(steps []Step) bool {
	for _, s := range steps {
		if s.Kind != KindPort || s.Verb != Update && s.Verb != Tag {
			return false
		}
		for k := range s.Fields {
			if k != "name" && k != "device_id" && k != "description" {
				return false
			}
		}
	}
	return true
}

// Together is how many of the first steps go in one call, at most limit: ports that
// are created, or attached to the same parent, or detached from it.
func Together(steps []Step, limit int) int {
	n := 1
	for n < len(steps) && n < limit && joins(steps[0], steps[n]) {
		n++
	}
	return n
}

func joins(a, b Step) bool {
	if a.Verb != b.Verb || a.Kind != KindPort || b.Kind != KindPort {
		return false
	}
	return a.Verb == Create || (a.Verb == Attach || a.Verb == Detach) && a.Fields["parent"] == b.Fields["parent"]
}
