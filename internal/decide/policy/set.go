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

// podSet is the set of pods that a peer selects. Equal sets have equal texts, so
// that they share a group.
type podSet struct {
	// namespace is the pods' namespace. If it is empty, namespaces selects.
	namespace        string
	namespaces, pods labels.Selector
	// blocks, if not nil, exclude pods without an address in one of them.
	blocks []netip.Prefix
	// port and protocol, if set, exclude pods without a port of that name. The set
	// then has one group for each number of the port.
	port, protocol string
	text           string
}

// withText returns the set with its text.
func (s podSet) withText() *podSet {
	text := "pods(" + selectorText(s.pods) + ")"
	if s.namespace != "" {
		text += " namespace(" + s.namespace + ")"
	} else {
		text += " namespaces(" + selectorText(s.namespaces) + ")"
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

// selectorText returns the same text for selectors with the same requirements in
// another order.
func selectorText(s labels.Selector) string {
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

// has tells whether the pod is in the set, whatever the number of its named port.
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

// groupOf returns the set's group that the pod is in; false if it is in none.
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

// groups returns all groups of the set.
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

// group returns the group's name: a readable text of limited length, and a hash
// that makes the name unique.
func (s podSet) group(number int) string {
	const most = 200
	text := s.text
	if number != 0 {
		text = fmt.Sprintf("%s=%d", text, number)
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("peer/%s/%x", text[:min(len(text), most)], sum[:10])
}
