package octavia

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Delays until a waiting unit is applied again. Octavia sends no events.
const (
	shortDelay    = time.Second      // for something that is almost done
	busyDelay     = 5 * time.Second  // for Octavia to finish a change
	operatorDelay = 30 * time.Second // for something that only a person can change
)

// Answers of Octavia that this package handles.
var (
	// errBusy means that the load balancer is immutable while Octavia changes it.
	errBusy = errors.New("still being changed by Octavia")
	// errAddressTaken means that the virtual IP is in use.
	errAddressTaken = errors.New("the address is taken")
	// errNotFound means that the resource does not exist.
	errNotFound = errors.New("not found")
	// errFailed means that the load balancer has status ERROR and can only be deleted.
	errFailed = errors.New("status ERROR")
)

// classifyError maps the error of a call to one of the errors above, intent.Wait, intent.Stop,
// or a plain error, which is retried. nil stays nil. It knows Octavia's answers, and Neutron's
// about addresses. openstack.ClassifyError knows those that all of OpenStack shares.
func classifyError(doing string, err error) error {
	a, answered := openstack.AnswerOf(err)
	switch {
	case !answered:
	case a.Code == http.StatusNotFound:
		return fmt.Errorf("%s: %w: %s", doing, errNotFound, a.Text)
	case a.Code == http.StatusConflict && strings.Contains(a.Text, "immutable"):
		return fmt.Errorf("%s: %w: %s", doing, errBusy, a.Text)
	case strings.Contains(a.Text, "already allocated"), strings.Contains(a.Text, "already in use"):
		return fmt.Errorf("%s: %w: %s", doing, errAddressTaken, a.Text)
	}
	return openstack.ClassifyError(doing, err)
}

// ignoreNotFound returns nil if err says that a resource does not exist, so that nothing
// is left to delete. It accepts errors of classifyError and of gophercloud.
func ignoreNotFound(err error) error {
	if errors.Is(err, errNotFound) || errors.Is(classifyError("", err), errNotFound) {
		return nil
	}
	return err
}

func waitForUpdate(name string) error {
	return intent.Wait{Reason: "Pending", For: "Octavia to finish changing load balancer " + name, After: busyDelay}
}

func waitForRecreation(name string, after time.Duration) error {
	return intent.Wait{
		Reason: "BalancerError", After: max(after, shortDelay),
		For: fmt.Sprintf("load balancer %s, which has status ERROR in Octavia: it is deleted and created again; if this repeats, see Octavia's log", name),
	}
}
