package neutron

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// verb is what a step does.
type verb string

const (
	create verb = "create"
	update verb = "update"
	tag    verb = "tag"
	// attach puts a port behind another, detach takes it away from there.
	attach verb = "attach"
	detach verb = "detach"
	remove verb = "delete"
)

// step is one call, or one of several that go in one.
type step struct {
	verb verb
	object
}

// String is a step for people and for golden files.
func (s step) String() string {
	words := []string{string(s.verb), string(s.kind), s.name}
	if s.id != "" {
		words = append(words, "["+s.id+"]")
	}
	for _, k := range slices.Sorted(maps.Keys(s.fields)) {
		if s.verb == remove {
			break
		}
		words = append(words, k+"="+show(s.fields[k]))
	}
	if len(s.tags) > 0 {
		words = append(words, "tags="+strings.Join(s.tags, ","))
	}
	return strings.Join(words, " ")
}

func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case fixedIPs:
		return strings.Join(v.texts(), ",")
	case ref:
		return "<" + string(v.kind) + " " + v.name + ">"
	}
	return strings.Trim(fmt.Sprintf("%v", v), "[]")
}

// fixed are the fields that Neutron cannot change, or not of a port that is
// bound: another value needs another object.
var fixed = map[kind][]string{
	kindSubnet: {"network_id", "cidr", "ip_version"},
	kindJoin:   {"router_id", "subnet_id"},
	kindPort:   {"network_id", "mac_address"},
	kindRule:   append([]string{"security_group_id"}, ruleFields...),
}

// atBirth tells which kinds can be tagged in the call that makes them.
type atBirth map[kind]bool

// diff says which steps turn have into want: what must go, in reverse order of
// creation, for it may hold addresses that others want; then, in order, what
// is missing or differs. Of several that have the same name one stays.
func diff(have, want []object, born atBirth) []step {
	d := &differ{have: have, kept: map[ref]object{}, born: born}
	for _, w := range slices.SortedFunc(slices.Values(want), byOrder) {
		d.object(w)
	}
	return append(d.deletes(), d.steps...)
}

type differ struct {
	have  []object
	kept  map[ref]object // by what is wanted
	born  atBirth
	steps []step
}

// object finds the one that is wanted, or makes it.
func (d *differ) object(w object) {
	w.fields = d.resolve(w.fields)
	h, found := d.choose(w)
	if !found {
		d.create(w)
		return
	}
	d.kept[ref{w.kind, w.name}] = h
	changed := differing(h.fields, w.fields)
	parent, moves := changed["parent"]
	delete(changed, "parent")
	if moves && nests(h.fields) && h.fields["parent"] != nil {
		d.steps = append(d.steps, step{detach, object{kind: h.kind, name: w.name, id: h.id, fields: fields{"parent": h.fields["parent"]}}})
	}
	if len(changed) > 0 {
		d.steps = append(d.steps, step{update, object{kind: h.kind, name: w.name, id: h.id, fields: changed}})
	}
	if tags := openstack.ReplaceTags(h.tags, w.tags); w.kind.tagged() && !slices.Equal(tags, sorted(h.tags)) {
		d.steps = append(d.steps, step{tag, object{kind: h.kind, name: w.name, id: h.id, tags: tags}})
	}
	if moves {
		d.steps = append(d.steps, attaching(object{kind: h.kind, name: w.name, id: h.id}, parent, w.fields["vlan"]))
	}
}

// attaching puts a port behind another, with a VLAN id that it had if that is
// free. All that is to be so from the start comes before.
func attaching(o object, parent, vlan any) step {
	o.fields = fields{"parent": parent, "vlan": vlan}
	return step{attach, o}
}

func (d *differ) create(w object) {
	tags := w.tags
	if !d.born[w.kind] {
		w.tags = nil
	}
	d.steps = append(d.steps, step{create, w})
	if w.tags == nil && len(tags) > 0 {
		d.steps = append(d.steps, step{tag, object{kind: w.kind, name: w.name, tags: tags}})
	}
	if parent, nested := w.fields["parent"]; nested {
		d.steps = append(d.steps, attaching(object{kind: w.kind, name: w.name}, parent, w.fields["vlan"]))
	}
}

// choose is the object that can become what is wanted; the one with the least
// to change, and of equals the first by id.
func (d *differ) choose(w object) (object, bool) {
	var best object
	least := -1
	for _, h := range slices.SortedFunc(slices.Values(d.have), byOrder) {
		if h.kind != w.kind || d.stays(h) || !mayBecome(h, w) {
			continue
		}
		if n := len(differing(h.fields, w.fields)); least < 0 || n < least {
			best, least = h, n
		}
	}
	return best, least >= 0
}

// mayBecome tells whether have can be changed to want. A port from the pool has
// no name of its own yet.
func mayBecome(h, w object) bool {
	if h.name != w.name && (h.kind != kindPort || h.name != pooledName) {
		return false
	}
	if h.kind == kindPort && !mayNest(h, w) {
		return false
	}
	changed := differing(h.fields, w.fields)
	return !slices.ContainsFunc(fixed[w.kind], func(k string) bool { _, differs := changed[k]; return differs })
}

// mayNest: a port that is bound to a node by itself never gets behind another,
// nor the other way round.
func mayNest(h, w object) bool {
	if nests(w.fields) {
		return nests(h.fields) || text(h, "binding:host_id") == ""
	}
	return !nests(h.fields)
}

// resolve puts ids in place of refs to what stays.
func (d *differ) resolve(f fields) fields {
	out := maps.Clone(f)
	for k, v := range f {
		if r, is := v.(ref); is {
			if h, stays := d.kept[r]; stays {
				out[k] = h.id
			}
		}
	}
	return out
}

// deletes begins with the ports behind others: Neutron deletes none that is.
func (d *differ) deletes() []step {
	var steps, detaches []step
	for _, h := range slices.SortedFunc(slices.Values(d.have), func(a, b object) int { return byOrder(b, a) }) {
		if d.stays(h) || d.goesWith(h) {
			continue
		}
		if h.fields["parent"] != nil {
			detaches = append(detaches, step{detach, object{kind: h.kind, name: h.name, id: h.id, fields: fields{"parent": h.fields["parent"]}}})
		}
		steps = append(steps, step{remove, object{kind: h.kind, name: h.name, id: h.id, fields: h.fields}})
	}
	return append(detaches, steps...)
}

func (d *differ) stays(h object) bool {
	for _, k := range d.kept {
		if k.is(h) {
			return true
		}
	}
	return false
}

// is tells whether both are the same of Neutron's. A router's port may join
// several subnets.
func (o object) is(h object) bool {
	return o.kind == h.kind && o.id == h.id && (o.kind != kindJoin || o.name == h.name)
}

// goesWith tells whether an object goes by itself, with another.
func (d *differ) goesWith(h object) bool {
	if h.kind != kindRule {
		return false
	}
	return !slices.ContainsFunc(d.have, func(g object) bool {
		return g.kind == kindGroup && g.id == h.fields["security_group_id"] && d.stays(g)
	})
}

// birthOnly are fields that matter when an object is made, and cannot be changed
// or asked for: whose project it is in, and where its prefix comes from.
var birthOnly = []string{"project_id", "subnetpool_id", "prefixlen", "vlan", "node"}

// differing are the wanted fields that are not so.
func differing(have, want fields) fields {
	out := fields{}
	for k, w := range want {
		if k == "device_owner" && nests(want) {
			continue // Neutron says it, and takes nobody else's word
		}
		if !slices.Contains(birthOnly, k) && !satisfies(have[k], w) {
			out[k] = w
		}
	}
	return out
}

// satisfies tells whether a field is as it is wanted.
func satisfies(have, want any) bool {
	switch w := want.(type) {
	case set:
		h, _ := have.(set)
		return slices.Equal(sorted(h), sorted(w))
	case fixedIPs:
		h, _ := have.(fixedIPs)
		return w.met(h)
	}
	return reflect.DeepEqual(have, want)
}

// met tells whether addresses are those that are wanted, where a wanted one
// may leave open what Neutron chooses.
func (w fixedIPs) met(have fixedIPs) bool {
	left := slices.Clone(have)
	for _, ip := range w {
		i := slices.IndexFunc(left, func(h fixedIP) bool {
			return (ip.Subnet == "" || ip.Subnet == h.Subnet) && (ip.Addr == "" || ip.Addr == h.Addr)
		})
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}

func (w fixedIPs) texts() []string {
	var out []string
	for _, ip := range w {
		out = append(out, ip.Subnet+"@"+cmp.Or(ip.Addr, "any"))
	}
	return out
}

// onlyNames tells whether steps only write whose a port is: those can wait, for nothing
// depends on them.
func onlyNames(steps []step) bool {
	for _, s := range steps {
		if s.kind != kindPort || s.verb != update && s.verb != tag {
			return false
		}
		for k := range s.fields {
			if k != "name" && k != "device_id" && k != "description" {
				return false
			}
		}
	}
	return true
}
