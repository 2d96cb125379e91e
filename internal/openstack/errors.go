package openstack

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

// operatorDelay is the time until the next attempt after an error that only an operator
// of OpenStack can resolve, such as a quota or a password. OpenStack sends no event.
const operatorDelay = 30 * time.Second

// Answer is OpenStack's answer to a failed call.
type Answer struct {
	// Code is the HTTP status.
	Code int
	// Type is Neutron's name of the error, for example "OverQuota". Other
	// services leave it empty.
	Type string
	// Text is the message, without a full stop at its end.
	Text string
}

// AnswerOf returns the answer in a gophercloud error. It returns false if there was no
// answer: the connection failed, or the call timed out. The answer has no part of the
// request, so that no password gets into a message.
func AnswerOf(err error) (Answer, bool) {
	if again, is := errors.AsType[*gophercloud.ErrUnableToReauthenticate](err); is {
		err = again.ErrReauth
	}
	var code gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &code) {
		return Answer{}, false
	}
	a := Answer{Code: code.Actual, Text: http.StatusText(code.Actual)}
	var body struct {
		Faultstring  string `json:"faultstring"` // of Octavia
		NeutronError struct{ Type, Message string }
	}
	if json.Unmarshal(code.Body, &body) != nil {
		return a, true
	}
	switch {
	case body.Faultstring != "":
		a.Text, _, _ = strings.Cut(body.Faultstring, "\nNeutron server returns request_ids")
	case body.NeutronError.Message != "":
		a.Type, a.Text = body.NeutronError.Type, body.NeutronError.Message
	}
	a.Text = strings.TrimSuffix(a.Text, ".")
	return a, true
}

// ClassifyError maps the error of a call to intent.Wait, intent.Stop, or a plain error,
// which is retried. nil stays nil. doing names the call and begins the message.
// ClassifyError knows the answers that all services share; a fabric checks for the
// answers of its own service first.
func ClassifyError(doing string, err error) error {
	if err == nil {
		return nil
	}
	a, answered := AnswerOf(err)
	switch {
	case !answered:
		return fmt.Errorf("%s: %w", doing, err)
	case a.overQuota():
		return intent.Wait{Reason: "QuotaExceeded", For: doing + ": " + a.Text, After: operatorDelay}
	case a.Code == http.StatusUnauthorized:
		return intent.Wait{Reason: "BadCredentials", For: doing + ": Keystone to accept our credentials: correct them in clouds.yaml", After: operatorDelay}
	case a.Code == http.StatusForbidden:
		return intent.Stop{Reason: "Forbidden", Why: doing + ": our user may not: " + a.Text}
	case a.Code == http.StatusNotImplemented:
		return intent.Stop{Reason: "Unsupported", Why: doing + ": " + a.Text}
	case a.Code == http.StatusBadRequest, a.Code == http.StatusConflict:
		return intent.Stop{Reason: "Refused", Why: doing + ": " + a.Text}
	}
	return fmt.Errorf("%s: %s (HTTP status %d)", doing, a.Text, a.Code)
}

// overQuota reports whether a quota is used up. Neutron has an error type for that.
// Octavia has only a text, with status 403.
func (a Answer) overQuota() bool {
	return a.Type == "OverQuota" || a.Type == "" && strings.Contains(strings.ToLower(a.Text), "quota")
}

// IsOutcome reports whether err is, or wraps, an intent.Wait or an intent.Stop: an answer
// about the object, not a failure of the call.
func IsOutcome(err error) bool {
	var wait intent.Wait
	var stop intent.Stop
	return errors.As(err, &wait) || errors.As(err, &stop)
}
