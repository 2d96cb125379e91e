package neutron

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// How long to wait where Neutron sends no event.
const (
	soon  = time.Second
	later = 10 * time.Second
	rare  = 30 * time.Second
)

// answer is what Neutron says of a call that failed.
type answer struct {
	code int
	// word is Neutron's name of what is wrong, "OverQuota"; text says it in a sentence.
	word, text string
}

// class says what the failure of a call means: nothing (nil), intent.Wait,
// intent.Stop, or that trying again may help. It is the one place that reads
// codes of HTTP and Neutron's names of errors.
func class(v verb, what string, err error) error {
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf("%s %s", v, what)
	a, answered := read(err)
	switch {
	case !answered:
		return fmt.Errorf("%s: %w", doing, err)
	case a.code == http.StatusNotFound && v == remove:
		return nil
	case a.code == http.StatusNotFound && v == detach:
		return notBehind{fmt.Errorf("%s: %s", doing, a.text)}
	case a.word == "TrunkNotFound":
		return intent.Wait{Reason: NoTrunk, For: doing + ": " + a.text, After: later}
	case a.word == "SecurityGroupNotFound":
		// a port or a rule names it; or it is itself what we change
		return noGroup{anyUUID.FindAllString(a.text, -1), intent.Wait{Reason: "NotFound", For: doing + ": " + a.text, After: later}}
	case a.code == http.StatusUnauthorized:
		return intent.Wait{Reason: "BadCredentials", For: doing + ": Keystone to accept our credentials: correct them in clouds.yaml", After: rare}
	case a.code == http.StatusForbidden:
		return intent.Stop{Reason: "Forbidden", Why: doing + ": our user may not: " + a.text}
	case a.code == http.StatusNotFound:
		return a.missing(v, doing)
	case a.code == http.StatusConflict:
		return a.conflict(doing)
	case a.code == http.StatusBadRequest && strings.Contains(a.text, "already has a port on subnet"):
		// we ourselves did it, in a call whose answer was lost: the next look shows it
		return fmt.Errorf("%s: %s", doing, a.text)
	case a.code == http.StatusBadRequest:
		return intent.Stop{Reason: "Refused", Why: doing + ": " + a.text}
	}
	return fmt.Errorf("%s: %s (HTTP status %d)", doing, a.text, a.code)
}

// noGroup is the failure of a call because security groups are not there.
type noGroup struct {
	ids []string
	error
}

func (n noGroup) Unwrap() error { return n.error }

// notBehind is the failure to detach several ports because not all are attached.
type notBehind struct{ error }

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// missing: what we change is gone, and looking again tells; what we refer to
// may come.
func (a answer) missing(v verb, doing string) error {
	if v == create {
		return intent.Wait{Reason: "NotFound", For: doing + ": " + a.text, After: later}
	}
	return fmt.Errorf("%s: %s", doing, a.text)
}

// conflict: somebody has, or holds, what we need, or it is wrong for good.
func (a answer) conflict(doing string) error {
	wait := func(reason string, after time.Duration) error {
		return intent.Wait{Reason: reason, For: doing + ": " + a.text, After: after}
	}
	switch {
	case a.word == "OverQuota":
		return wait("QuotaExceeded", rare)
	case a.word == "IpAddressGenerationFailure":
		return wait("SubnetFull", later)
	case a.word == "IpAddressAlreadyAllocated", a.word == "IpAddressInUse", a.word == "MacAddressInUse":
		return wait("AddressTaken", later)
	case a.word == "DuplicateSubPort":
		return vlanTaken{wait("VLANTaken", soon)}
	case strings.Contains(a.word, "InUse"):
		return wait("InUse", later)
	}
	return intent.Stop{Reason: "Refused", Why: doing + ": " + a.text}
}

// read finds Neutron's answer in what gophercloud returns. Of a failed call it
// takes the code and the message, and nothing of what was sent.
func read(err error) (answer, bool) {
	var again *gophercloud.ErrUnableToReauthenticate
	if errors.As(err, &again) {
		err = again.ErrReauth
	}
	var code gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &code) {
		return answer{}, false
	}
	a := answer{code: code.Actual, text: http.StatusText(code.Actual)}
	var body struct {
		NeutronError struct{ Type, Message string }
	}
	if json.Unmarshal(code.Body, &body) == nil && body.NeutronError.Message != "" {
		a.word, a.text = body.NeutronError.Type, strings.TrimSuffix(body.NeutronError.Message, ".")
	}
	return a, true
}

// told says whether an error is an answer rather than an accident.
func told(err error) bool {
	var wait intent.Wait
	var stop intent.Stop
	return errors.As(err, &wait) || errors.As(err, &stop)
}
