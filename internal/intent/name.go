package intent

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// ShortName returns name if it has at most the 253 characters that a name in
// Kubernetes may have. It shortens a longer one; a hash keeps two of them apart.
func ShortName(name string) string {
	const most = 253
	if len(name) <= most {
		return name
	}
	sum := fmt.Sprintf("-%x", sha256.Sum256([]byte(name)))[:17]
	return strings.TrimRight(name[:most-len(sum)], "-.") + sum
}
