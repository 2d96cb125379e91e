package plug

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// HostName returns the name of the node's end of a pod's interface. It depends only on
// the sandbox and the link, so that the agent needs no record of it.
func HostName(container, link string) string { return "i" + digest(container, link) }

// HostNames returns all names that an interface's steps may use on the node.
func HostNames(container, link string) []string {
	return []string{HostName(container, link), HostLinkName(container, link)}
}

// HostLinkName returns the name of the node's end of the pod's host link.
func HostLinkName(container, link string) string { return "h" + digest(container, link) }

// digest returns 12 hex digits. A name with one letter before them is short enough
// for a Linux interface.
func digest(container, link string) string {
	sum := sha256.Sum256([]byte(container + "/" + link))
	return hex.EncodeToString(sum[:6])
}

const aliasPrefix = "isthmus "

// Mark is the content of a link's alias, which marks the link as ours. With it, the
// garbage collection finds a link that has no switch port. A link of an earlier
// release has Container and Pod only.
type Mark struct {
	Container, Link, UID string
	// VLAN is Port.VLAN of a pod on a trunk; empty otherwise.
	VLAN string
	Pod  string
}

// VLAN returns the VLAN id and its parent in the form of a Mark; empty for a port
// without a VLAN. The pod must be plugged again when they change.
func (p Port) VLAN() string {
	if p.Tag == 0 {
		return ""
	}
	return fmt.Sprintf("%d@%s", p.Tag, p.Parent)
}

func (p Port) mark() Mark {
	return Mark{Container: p.Container, Link: p.Link, UID: p.UID, VLAN: p.VLAN(), Pod: p.Pod}
}

// Alias returns the mark as text of at most 255 bytes, the kernel's limit. The pod's
// name comes last and may be cut.
func (m Mark) Alias() string {
	text := aliasPrefix + strings.Join([]string{m.Container, m.Link, cmp.Or(m.UID, "-"), cmp.Or(m.VLAN, "-"), m.Pod}, " ")
	return text[:min(len(text), 255)]
}

// ParseAlias returns the mark of a link of ours. ours is false for other links.
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
