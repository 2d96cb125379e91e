// Package trunk knows Neutron's trunks: a parent port, which a virtual machine has, and
// the subports that are attached to it, each with a VLAN id of its own. It answers which
// VLAN id a subport gets (vlan.go), attaches and detaches subports while others do the
// same (trunks.go), and tells when a subport is up for the first time (pending.go).
//
// It knows nothing of what the subports are for.
package trunk

import (
	"context"
	"fmt"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Trunk is a trunk as Neutron shows it.
type Trunk struct {
	ID string
	// Parent is the id of the parent port.
	Parent   string
	Subports []Subport
}

// Subport is a port on a trunk.
type Subport struct {
	// Port is its id; Name is for messages and may be empty.
	Port, Name string
	// VLAN is 0 if any will do.
	VLAN int
}

// Attachment is where a subport is.
type Attachment struct {
	// Parent is the id of the parent port.
	Parent string
	VLAN   int
}

// Attachments are those of all subports of some trunks, by the subport's id.
func Attachments(all []Trunk) map[string]Attachment {
	out := map[string]Attachment{}
	for _, t := range all {
		for _, s := range t.Subports {
			out[s.Port] = Attachment{t.Parent, s.VLAN}
		}
	}
	return out
}

// API is what Trunks asks of Neutron.
type API interface {
	// Trunks lists the trunk of a parent port, or all trunks if parent is empty.
	Trunks(ctx context.Context, parent string) ([]Trunk, error)
	// AddSubports attaches ports to a trunk, all or none. Its error is VLANTaken if
	// somebody has one of the VLAN ids, and an intent.Wait with reason NoTrunk if there is
	// no such trunk.
	AddSubports(ctx context.Context, trunk string, ports []Subport) error
	// RemoveSubports detaches ports, all or none. Its error is NotAttached if not all are
	// attached.
	RemoveSubports(ctx context.Context, trunk string, ports []Subport) error
}

// VLANTaken is the error of a call that failed because another port has a VLAN id.
type VLANTaken struct{ Err error }

func (t VLANTaken) Error() string { return t.Err.Error() }
func (t VLANTaken) Unwrap() error { return t.Err }

// NotAttached is the error of a call that failed because not all ports to detach are
// attached.
type NotAttached struct{ Err error }

func (n NotAttached) Error() string { return n.Err.Error() }
func (n NotAttached) Unwrap() error { return n.Err }

// NoTrunk is the reason of the intent.Wait for a trunk that does not exist.
const NoTrunk = "NoTrunk"

// untilNextRead is when it is worth looking again for what Neutron sends no event about.
const untilNextRead = 10 * time.Second

func noTrunk(parent string) error {
	return intent.Wait{Reason: NoTrunk, After: untilNextRead, For: fmt.Sprintf("a trunk on port %s: openstack network trunk create --parent-port %s NAME", parent, parent)}
}

func noVLAN(parent string) error {
	return intent.Wait{Reason: "NoVLAN", After: untilNextRead, For: fmt.Sprintf(
		"a VLAN id on port %s: its subports have all %d, have fewer pods on its node or delete trunk ports that nobody needs", parent, LastVLAN)}
}
