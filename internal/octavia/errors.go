package octavia

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// How long to wait: Octavia sends no event.
const (
	soon  = time.Second
	later = 5 * time.Second
	rare  = 30 * time.Second
)

// errBusy is Octavia still doing what it was told before; errTaken is an
// address that somebody has; errGone is something that is not there; errBroken
// is a balancer in error, which takes no call but its deletion.
var (
	errBusy  = errors.New("it is still being worked on")
	errTaken = errors.New("the address is taken")
	errGone  = errors.New("it is not there")

	errBroken = errors.New("it is in error")
)

// classifyError maps the error of a call to one of the errors above,
// intent.Wait, intent.Stop, or a plain error, which is retried. It knows the
// answers of Octavia, and of Neutron about addresses; what means the same in all
// of OpenStack is openstack.ClassifyError's.
func classifyError(doing string, err error) error {
	a, answered := openstack.AnswerOf(err)
	switch {
	case !answered:
	case a.Code == http.StatusNotFound:
		return fmt.Errorf("%s: %w: %s", doing, errGone, a.Text)
	case a.Code == http.StatusConflict && strings.Contains(a.Text, "immutable"):
		return fmt.Errorf("%s: %w: %s", doing, errBusy, a.Text)
	case strings.Contains(a.Text, "already allocated"), strings.Contains(a.Text, "already in use"):
		return fmt.Errorf("%s: %w: %s", doing, errTaken, a.Text)
	}
	return openstack.ClassifyError(doing, err)
}
