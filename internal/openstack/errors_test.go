package openstack

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

func neutronSays(kind, message string) string {
	return fmt.Sprintf(`{"NeutronError": {"type": %q, "message": %q, "detail": ""}}`, kind, message)
}

func octaviaSays(message string) string {
	return fmt.Sprintf(`{"faultcode": "Client", "faultstring": %q, "debuginfo": null}`, message)
}

// ClassifyError maps each answer of any service to the expected error.
func TestClassifyError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code   int
		body   string
		reason string // of a Wait or a Stop, empty for an error that is retried
		wait   bool
		text   string
	}{
		"Neutron's quota":          {409, neutronSays("OverQuota", "Quota exceeded for resources: ['port']."), "QuotaExceeded", true, "Quota exceeded for resources: ['port']"},
		"Octavia's quota":          {403, octaviaSays("Quota has been met for resources: Load Balancer"), "QuotaExceeded", true, "Quota has been met"},
		"a text about a quota":     {409, neutronSays("PortBound", "The quota is not what is wrong."), "Refused", false, "The quota is not what is wrong"},
		"a wrong password":         {401, `{"error": {"code": 401, "message": "no"}}`, "BadCredentials", true, "clouds.yaml"},
		"no permission":            {403, neutronSays("PolicyNotAuthorized", "Not you."), "Forbidden", false, "our user may not: Not you"},
		"a provider that lacks it": {501, octaviaSays("Provider 'ovn' does not support a requested option"), "Unsupported", false, "does not support"},
		"a bad request":            {400, neutronSays("HTTPBadRequest", "Bad."), "Refused", false, "Bad"},
		"a conflict":               {409, octaviaSays("Another Listener is already there."), "Refused", false, "already there"},
		"not there":                {404, neutronSays("PortNotFound", "Gone."), "", false, "Gone (HTTP status 404)"},
		"a failure of the service": {500, octaviaSays("Provider 'ovn' reports error: x\nNeutron server returns request_ids: ['req-1']"), "", false, "reports error: x (HTTP status 500)"},
		"a proxy":                  {503, "<html>", "", false, "Service Unavailable (HTTP status 503)"},
		"a proxy that gave up":     {504, "", "", false, "Gateway Timeout (HTTP status 504)"},
	} {
		err := ClassifyError("create port ns/a", gophercloud.ErrUnexpectedResponseCode{Actual: c.code, Body: []byte(c.body)})
		reason, wait := outcome(err)
		if reason != c.reason || wait != c.wait || IsOutcome(err) != (c.reason != "") {
			t.Errorf("%s: reason %q, wait %v: %v", name, reason, wait, err)
		}
		if !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "create port ns/a: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// outcome returns the reason of a Wait or a Stop, and whether it is a Wait.
func outcome(err error) (reason string, isWait bool) {
	if wait, is := errors.AsType[intent.Wait](err); is {
		return wait.Reason, wait.After > 0
	}
	stop, _ := errors.AsType[intent.Stop](err)
	return stop.Reason, false
}

// An error that is not an answer is wrapped, so that callers find it.
func TestClassifyErrorWithoutAnswer(t *testing.T) {
	t.Parallel()
	if err := ClassifyError("list ports", nil); err != nil {
		t.Error(err)
	}
	err := ClassifyError("list ports", http.ErrServerClosed)
	if !errors.Is(err, http.ErrServerClosed) || IsOutcome(err) {
		t.Error(err)
	}
}

// If signing in again fails inside a call, the answer is Keystone's.
func TestAnswerOfSigningInAgain(t *testing.T) {
	t.Parallel()
	a, answered := AnswerOf(&gophercloud.ErrUnableToReauthenticate{
		ErrOriginal: gophercloud.ErrUnexpectedResponseCode{Actual: 500},
		ErrReauth:   gophercloud.ErrUnexpectedResponseCode{Actual: http.StatusUnauthorized},
	})
	if !answered || a.Code != http.StatusUnauthorized {
		t.Errorf("%+v, %v", a, answered)
	}
}
