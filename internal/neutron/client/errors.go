package client

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Waiting times for changes of which Neutron sends no event.
const (
	ShortWait = time.Second
	LongWait  = 10 * time.Second
	rareWait  = 30 * time.Second
)

// classifyError maps the error of a call to nil, intent.Wait, intent.Stop, or a plain
// error, which is retried. It knows Neutron's own error types; openstack.ClassifyError
// knows those that all of OpenStack shares.
func classifyError(v plan.Verb, what string, err error) error {
	doing := fmt.Sprintf("%s %s", v, what)
	a, answered := openstack.AnswerOf(err)
	switch {
	case !answered:
	case a.Code == http.StatusNotFound && v.Removes():
		return alreadyGone(v, doing, a)
	case a.Type == "TrunkNotFound":
		return intent.Wait{Reason: trunk.NoTrunk, For: doing + ": " + a.Text, After: LongWait}
	case a.Type == "SecurityGroupNotFound":
		// The missing group is one that a port or a rule refers to, or the changed one
		// itself.
		return MissingGroups{anyUUID.FindAllString(a.Text, -1), intent.Wait{Reason: "NotFound", For: doing + ": " + a.Text, After: LongWait}}
	case a.Code == http.StatusNotFound && v == plan.Create:
		// The object that we refer to may be created later. If the changed object itself
		// is gone, the next read shows that.
		return intent.Wait{Reason: "NotFound", For: doing + ": " + a.Text, After: LongWait}
	case a.Code == http.StatusNotFound:
		return fmt.Errorf("%s: %s", doing, a.Text)
	case a.Code == http.StatusBadRequest && strings.Contains(a.Text, "already has a port on subnet"):
		// An earlier call of ours succeeded, but its answer was lost. The next read shows
		// it.
		return fmt.Errorf("%s: %s", doing, a.Text)
	case a.Code == http.StatusConflict:
		return cmp.Or(conflict(a, doing), openstack.ClassifyError(doing, err))
	}
	return openstack.ClassifyError(doing, err)
}

// alreadyGone returns the result of deleting or detaching what does not exist.
func alreadyGone(v plan.Verb, doing string, a openstack.Answer) error {
	if v == plan.Delete {
		return nil
	}
	return trunk.NotAttached{Err: fmt.Errorf("%s: %s", doing, a.Text)}
}

// conflict returns the intent.Wait for a conflict with another object. It returns nil if
// waiting does not help.
func conflict(a openstack.Answer, doing string) error {
	wait := func(reason string, after time.Duration) error {
		return intent.Wait{Reason: reason, For: doing + ": " + a.Text, After: after}
	}
	switch {
	case a.Type == "IpAddressGenerationFailure":
		return wait("SubnetFull", LongWait)
	case a.Type == "IpAddressAlreadyAllocated", a.Type == "IpAddressInUse", a.Type == "MacAddressInUse":
		return wait("AddressTaken", LongWait)
	case a.Type == "DuplicateSubPort":
		return trunk.VLANTaken{Err: wait("VLANTaken", ShortWait)}
	case strings.Contains(a.Type, "InUse"):
		return wait("InUse", LongWait)
	}
	return nil
}

// MissingGroups is the error of a call that failed because security groups do not exist.
type MissingGroups struct {
	IDs []string
	error
}

func (n MissingGroups) Unwrap() error { return n.error }

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
