package plug

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// HostName names the node's side of a pod's interface. Whoever knows the
// sandbox finds it, without a record.
func HostName(container, link string) string { return "i" + digest(container, link) }

// HostNames are all the names that an interface's steps can give on the node.
func HostNames(container, link string) []string {
	return []string{HostName(container, link), HostLinkName(container, link)}
}

// HostLinkName names the node's side of the pod's host link.
func HostLinkName(container, link string) string { return "h" + digest(container, link) }

// digest is short enough for a Linux interface name with its prefix.
func digest(container, link string) string {
	sum := sha256.Sum256([]byte(container + "/" + link))
	return hex.EncodeToString(sum[:6])
}

const aliasPrefix = "isthmus "

// Mark is what the alias of a link of ours says: so GC finds the link without a
// switch port. Only Container and Pod are there where an earlier release made it.
type Mark struct {
	Container, Link, UID string
	// VLAN is where the pod is plugged on a trunk, empty if it is not.
	VLAN string
	Pod  string
}

// VLAN is a tag with its parent as a Mark says it: equal if the pod need not be moved.
func (p Port) VLAN() string {
	if p.Tag == 0 {
		return ""
	}
	return fmt.Sprintf("%d@%s", p.Tag, p.Parent)
}

func (p Port) mark() Mark {
	return Mark{Container: p.Container, Link: p.Link, UID: p.UID, VLAN: p.VLAN(), Pod: p.Pod}
}

// Alias is the mark as text; the pod's name, which comes last, may be cut, since the
// kernel takes 255 bytes.
func (m Mark) Alias() string {
	text := aliasPrefix + strings.Join([]string{m.Container, m.Link, cmp.Or(m.UID, "-"), cmp.Or(m.VLAN, "-"), m.Pod}, " ")
	return text[:min(len(text), 255)]
}

// ParseAlias reads the mark of a link of ours.
func ParseAlias(alias string) (m Mark, ours bool) {
	rest, ours := strings.CutPrefix(alias, aliasPrefix)
	if !ours {
		return Mark{}, false
	}
	words := strings.Split(rest, " ")
	m.Container, m.Pod = words[0], words[len(words)-1]
	if len(words) == 5 {
		m.Link, m.UID, m.VLAN = words[1], strings.TrimPrefix(words[2], "-"), strings.TrimPrefix(words[3], "-")
	}
	return m, true
}
