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

// Verb is the operation of a step.
type Verb string

// The verbs.
const (
	Create Verb = "create"
	Update Verb = "update"
	Tag    Verb = "tag"
	// Attach attaches a port to a parent port's trunk, Detach detaches it.
	Attach Verb = "attach"
	Detach Verb = "detach"
	Delete Verb = "delete"
)

// Removes reports whether a step with this verb has nothing to do if its object is gone.
func (v Verb) Removes() bool { return v == Delete || v == Detach }

// Step is one call to Neutron, or a part of a call that is made for several steps.
type Step struct {
	Verb Verb
	Object
}

// String describes the step, for people and for golden files.
func (s Step) String() string {
	words := []string{string(s.Verb), string(s.Kind), s.Name}
	if s.ID != "" {
		words = append(words, "["+s.ID+"]")
	}
	for _, k := range slices.Sorted(maps.Keys(s.Fields)) {
		if s.Verb == Delete {
			break
		}
		words = append(words, k+"="+format(s.Fields[k]))
	}
	if len(s.Tags) > 0 {
		words = append(words, "tags="+strings.Join(s.Tags, ","))
	}
	return strings.Join(words, " ")
}

func format(v any) string {
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

// immutable are the fields that Neutron cannot change, or cannot change on a bound port.
// Another value needs another object.
var immutable = map[Kind][]string{
	KindSubnet:          {"network_id", "cidr", "ip_version"},
	KindRouterInterface: {"router_id", "subnet_id"},
	KindPort:            {"network_id", "mac_address"},
	KindRule:            append([]string{"security_group_id"}, ruleFields...),
}

// TagsOnCreate has the kinds that can be tagged in the call that creates them.
type TagsOnCreate map[Kind]bool

// Diff returns the steps that turn have into want. It begins with the deletions, in
// reverse order of creation, because a deleted object may hold an address that another
// one wants. Creations and changes follow, in order of creation. Of several objects with
// the same name, one stays.
func Diff(have, want []Object, tagsOnCreate TagsOnCreate) []Step {
	d := &differ{have: have, kept: map[Ref]Object{}, tagsOnCreate: tagsOnCreate}
	for _, w := range slices.SortedFunc(slices.Values(want), byOrder) {
		d.addSteps(w)
	}
	return append(d.deletes(), d.steps...)
}

type differ struct {
	have         []Object
	kept         map[Ref]Object // by the reference to the wanted object
	tagsOnCreate TagsOnCreate
	steps        []Step
}

// addSteps adds the steps that create w or turn an existing object into it.
func (d *differ) addSteps(w Object) {
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

// AttachStep returns the step that attaches a port to a parent port's trunk. The port
// gets VLAN id vlan if that is free. The steps that prepare the port come before this
// one.
func AttachStep(o Object, parent, vlan any) Step {
	o.Fields = Fields{"parent": parent, "vlan": vlan}
	return Step{Verb: Attach, Object: o}
}

func (d *differ) create(w Object) {
	tags := w.Tags
	if !d.tagsOnCreate[w.Kind] {
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

// choose returns the existing object that can become w with the fewest changes; of
// equals, the first by id. It returns false if there is none.
func (d *differ) choose(w Object) (Object, bool) {
	var best Object
	least := -1
	for _, h := range slices.SortedFunc(slices.Values(d.have), byOrder) {
		if h.Kind != w.Kind || d.isKept(h) || !CanBecome(h, w) {
			continue
		}
		if n := len(differing(h.Fields, w.Fields)); least < 0 || n < least {
			best, least = h, n
		}
	}
	return best, least >= 0
}

// CanBecome reports whether object h can be changed into w. A port from the pool may have
// the pool's name.
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

// canBeSubport reports whether h suits w as a subport: a port that is bound to a node
// cannot become a subport, and a subport cannot be bound to a node.
func canBeSubport(h, w Object) bool {
	if IsSubport(w.Fields) {
		return IsSubport(h.Fields) || h.Text("binding:host_id") == ""
	}
	return !IsSubport(h.Fields)
}

// resolve returns f with ids in place of references to objects that stay.
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

// deletes returns the steps that delete what is not wanted. Detachments come first,
// because Neutron does not delete a subport.
func (d *differ) deletes() []Step {
	var steps, detaches []Step
	for _, h := range slices.SortedFunc(slices.Values(d.have), func(a, b Object) int { return byOrder(b, a) }) {
		if d.isKept(h) || d.deletedWith(h) {
			continue
		}
		if h.Fields["parent"] != nil {
			detaches = append(detaches, Step{Verb: Detach, Object: Object{Kind: h.Kind, Name: h.Name, ID: h.ID, Fields: Fields{"parent": h.Fields["parent"]}}})
		}
		steps = append(steps, Step{Verb: Delete, Object: Object{Kind: h.Kind, Name: h.Name, ID: h.ID, Fields: h.Fields}})
	}
	return append(detaches, steps...)
}

// Match returns, for each wanted object that has one, the existing object that is it or
// can become it.
func Match(have, want []Object) map[Ref]Object {
	d := &differ{have: have, kept: map[Ref]Object{}}
	for _, w := range want {
		if h, found := d.choose(w); found {
			d.kept[Ref{Kind: w.Kind, Name: w.Name}] = h
		}
	}
	return d.kept
}

func (d *differ) isKept(h Object) bool {
	for _, k := range d.kept {
		if k.Is(h) {
			return true
		}
	}
	return false
}

// Is reports whether o and h are the same object in Neutron. A router's port may be the
// interface of several subnets.
func (o Object) Is(h Object) bool {
	return o.Kind == h.Kind && o.ID == h.ID && (o.Kind != KindRouterInterface || o.Name == h.Name)
}

// deletedWith reports whether Neutron deletes h together with another object, its group.
func (d *differ) deletedWith(h Object) bool {
	if h.Kind != KindRule {
		return false
	}
	return !slices.ContainsFunc(d.have, func(g Object) bool {
		return g.Kind == KindGroup && g.ID == h.Fields["security_group_id"] && d.isKept(g)
	})
}

// createOnly are the fields that are only used on creation: Neutron cannot change them, or
// does not show them.
var createOnly = []string{"project_id", "subnetpool_id", "prefixlen", "vlan", "node"}

// differing returns the wanted fields that have another value in have.
func differing(have, want Fields) Fields {
	out := Fields{}
	for k, w := range want {
		if k == "device_owner" && IsSubport(want) {
			continue // Neutron sets it, and refuses it from users
		}
		if !slices.Contains(createOnly, k) && !satisfies(have[k], w) {
			out[k] = w
		}
	}
	return out
}

// satisfies reports whether a field's value is the wanted one.
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

// met reports whether the addresses are the wanted ones. A wanted address or subnet that
// is empty matches any.
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

// OnlyNames reports whether the steps only write a port's name and owner. Those can wait,
// because no traffic depends on them.
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

// Together returns how many of the first steps fit into one call, at most limit: ports
// that are created, or attached to the same parent, or detached from it.
func Together(steps []Step, limit int) int {
	n := 1
	for n < len(steps) && n < limit && sameCall(steps[0], steps[n]) {
		n++
	}
	return n
}

func sameCall(a, b Step) bool {
	if a.Verb != b.Verb || a.Kind != KindPort || b.Kind != KindPort {
		return false
	}
	return a.Verb == Create || (a.Verb == Attach || a.Verb == Detach) && a.Fields["parent"] == b.Fields["parent"]
}
