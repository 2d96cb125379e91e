package octavia

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/isthmus-cni/isthmus/internal/intent"
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

// class says what the failure of a call means: intent.Wait, intent.Stop, one of
// the errors above, or that trying again may help. It is the one place that
// reads codes of HTTP.
func class(doing string, err error) error {
	if err == nil {
		return nil
	}
	code, text, answered := read(err)
	if !answered {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch {
	case code == http.StatusNotFound:
		return fmt.Errorf("%s: %w: %s", doing, errGone, text)
	case code == http.StatusConflict && strings.Contains(text, "immutable"):
		return fmt.Errorf("%s: %w: %s", doing, errBusy, text)
	case strings.Contains(text, "already allocated"), strings.Contains(text, "already in use"):
		return fmt.Errorf("%s: %w: %s", doing, errTaken, text)
	case strings.Contains(strings.ToLower(text), "quota"):
		return intent.Wait{Reason: "QuotaExceeded", For: doing + ": " + text, After: rare}
	case code == http.StatusUnauthorized:
		return intent.Wait{Reason: "BadCredentials", For: doing + ": Keystone to accept our credentials: correct them in clouds.yaml", After: rare}
	case code == http.StatusForbidden:
		return intent.Stop{Reason: "Forbidden", Why: doing + ": our user may not: " + text}
	case code == http.StatusNotImplemented:
		return intent.Stop{Reason: "Unsupported", Why: doing + ": " + text}
	case code == http.StatusBadRequest, code == http.StatusConflict:
		return intent.Stop{Reason: "Refused", Why: doing + ": " + text}
	}
	return fmt.Errorf("%s: %s (HTTP status %d)", doing, text, code)
}

// read finds Octavia's or Neutron's answer in what gophercloud returns. Of a
// failed call it takes the code and the message, and nothing of what was sent.
func read(err error) (int, string, bool) {
	if again, is := errors.AsType[*gophercloud.ErrUnableToReauthenticate](err); is {
		err = again.ErrReauth
	}
	var code gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &code) {
		return 0, "", false
	}
	text := http.StatusText(code.Actual)
	var body struct {
		Faultstring  string `json:"faultstring"`
		NeutronError struct{ Message string }
	}
	if json.Unmarshal(code.Body, &body) == nil {
		switch {
		case body.Faultstring != "":
			text, _, _ = strings.Cut(body.Faultstring, "\nNeutron server returns request_ids")
		case body.NeutronError.Message != "":
			text = body.NeutronError.Message
		}
	}
	return code.Actual, strings.TrimSuffix(text, "."), true
}

// told says whether an error is an answer rather than an accident.
func told(err error) bool {
	var wait intent.Wait
	var stop intent.Stop
	return errors.As(err, &wait) || errors.As(err, &stop)
}
