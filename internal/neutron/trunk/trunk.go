// Package trunk knows Neutron's trunks: a parent port, which belongs to a virtual
// machine, and the subports that are attached to it, each with a VLAN id. It allocates
// VLAN ids (vlan.go), attaches and detaches subports while other clients do the same
// (trunks.go), and detects when a subport is up for the first time (pending.go).
//
// It does not know what the subports are used for.
package trunk

import (
	"context"
	"fmt"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Trunk is a trunk in Neutron.
type Trunk struct {
	ID string
	// Parent is the id of the parent port.
	Parent   string
	Subports []Subport
}

// Subport is a port on a trunk.
type Subport struct {
	// Port is the port's id. Name is used in messages and may be empty.
	Port, Name string
	// VLAN is the VLAN id, 0 for any.
	VLAN int
}

// Attachment is a subport's parent port and VLAN id.
type Attachment struct {
	// Parent is the id of the parent port.
	Parent string
	VLAN   int
}

// Attachments returns the attachments of all subports of the trunks, by the subport's id.
func Attachments(all []Trunk) map[string]Attachment {
	out := map[string]Attachment{}
	for _, t := range all {
		for _, s := range t.Subports {
			out[s.Port] = Attachment{t.Parent, s.VLAN}
		}
	}
	return out
}

// API has the calls to Neutron that Trunks needs.
type API interface {
	// Trunks lists the trunk of a parent port, or all trunks if parent is empty.
	Trunks(ctx context.Context, parent string) ([]Trunk, error)
	// AddSubports attaches ports to a trunk, all or none. It returns VLANTaken if another
	// port has one of the VLAN ids, and an intent.Wait with reason NoTrunk if the trunk
	// does not exist.
	AddSubports(ctx context.Context, trunk string, ports []Subport) error
	// RemoveSubports detaches ports, all or none. It returns NotAttached if one of them
	// is not attached.
	RemoveSubports(ctx context.Context, trunk string, ports []Subport) error
}

// VLANTaken is the error of a call that failed because another port has one of the VLAN
// ids.
type VLANTaken struct{ Err error }

func (t VLANTaken) Error() string { return t.Err.Error() }
func (t VLANTaken) Unwrap() error { return t.Err }

// NotAttached is the error of a call that failed because one of the ports to detach is
// not attached.
type NotAttached struct{ Err error }

func (n NotAttached) Error() string { return n.Err.Error() }
func (n NotAttached) Unwrap() error { return n.Err }

// NoTrunk is the reason of the intent.Wait for a trunk that does not exist.
const NoTrunk = "NoTrunk"

// untilNextRead is the time until the next read of what Neutron sends no event for.
const untilNextRead = 10 * time.Second

func noTrunk(parent string) error {
	return intent.Wait{Reason: NoTrunk, After: untilNextRead, For: fmt.Sprintf("a trunk on port %s: openstack network trunk create --parent-port %s NAME", parent, parent)}
}

func noVLAN(parent string) error {
	return intent.Wait{Reason: "NoVLAN", After: untilNextRead, For: fmt.Sprintf(
		"a VLAN id on port %s: its subports have all %d, have fewer pods on its node or delete trunk ports that nobody needs", parent, LastVLAN)}
}
