package intent

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// ShortName returns name if it has at most 253 characters, which is the limit of
// names in Kubernetes. It shortens a longer name and adds a hash, so that two
// long names stay different.
func ShortName(name string) string {
	const most = 253
	if len(name) <= most {
		return name
	}
	sum := fmt.Sprintf("-%x", sha256.Sum256([]byte(name)))[:17]
	return strings.TrimRight(name[:most-len(sum)], "-.") + sum
}
