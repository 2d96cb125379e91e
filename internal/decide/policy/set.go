package policy

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// podSet is the pods that a peer means. Equal sets have equal texts, and so
// share a group.
type podSet struct {
	// namespace is the only one; if it is empty, namespaces selects.
	namespace        string
	namespaces, pods labels.Selector
	// blocks, if there are any, keep out pods that have no address in them.
	blocks []netip.Prefix
	// port and protocol, if set, keep out pods that have no port of that name;
	// there is then a group for each number.
	port, protocol string
	text           string
}

// sealed is the set with its text.
func (s podSet) sealed() *podSet {
	text := "pods(" + textOf(s.pods) + ")"
	if s.namespace != "" {
		text += " namespace(" + s.namespace + ")"
	} else {
		text += " namespaces(" + textOf(s.namespaces) + ")"
	}
	if s.port != "" {
		text += " port(" + s.port + "/" + s.protocol + ")"
	}
	if s.blocks != nil {
		text += fmt.Sprintf(" in%v", s.blocks)
	}
	s.text = text
	return &s
}

// textOf is the same for selectors that say the same in another order.
func textOf(s labels.Selector) string {
	requirements, selectable := s.Requirements()
	if !selectable {
		return "!"
	}
	var out []string
	for _, r := range requirements {
		if r.Operator() == selection.In && r.Values().Len() == 1 {
			out = append(out, r.Key()+"="+r.Values().List()[0])
			continue
		}
		out = append(out, r.String())
	}
	return strings.Join(nameSet(out), ",")
}

// has tells whether the pod is one of the set, its port's number apart.
func (s podSet) has(p Pod) bool {
	switch {
	case s.namespace != "" && s.namespace != p.Namespace,
		s.namespace == "" && !s.namespaces.Matches(labels.Set(p.NamespaceLabels)),
		!s.pods.Matches(labels.Set(p.Labels)):
		return false
	}
	return s.blocks == nil || slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool { return within(s.blocks, a) })
}

func within(blocks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return b.Contains(a) })
}

// groupOf is the group of the set that the pod is in.
func (s podSet) groupOf(p Pod) (string, bool) {
	if !s.has(p) {
		return "", false
	}
	if s.port == "" {
		return s.group(0), true
	}
	n, ok := p.number(s.port, s.protocol)
	return s.group(n), ok
}

// groups are all groups of the set.
func (s podSet) groups(ports PortCount) []string {
	if s.port == "" {
		return []string{s.group(0)}
	}
	var out []string
	for _, n := range ports.numbers(s.namespace, s.port, s.protocol) {
		out = append(out, s.group(n))
	}
	return out
}

// group is a name that people can read, and a hash that tells sets apart where
// the rest is cut off.
func (s podSet) group(number int) string {
	const most = 200
	text := s.text
	if number != 0 {
		text = fmt.Sprintf("%s=%d", text, number)
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("peer/%s/%x", text[:min(len(text), most)], sum[:10])
}
