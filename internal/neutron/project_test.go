package neutron

import (
	"net/http"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

func TestCheckProject(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := start(t, c, nil)
	if f.Project() != "" {
		t.Errorf("before signing in our project is %s", f.Project())
	}
	for _, row := range []struct {
		id     string
		code   int
		reason string
	}{
		{neutrontest.Project, 0, ""},
		{"there", http.StatusOK, ""},
		{"unknown", http.StatusNotFound, "UnknownProject"},
		{"hidden", http.StatusForbidden, "ForbiddenProject"},
	} {
		c.Tenant(row.id, row.code)
		if err := f.CheckProject(t.Context(), row.id); reason(err) != row.reason || err != nil && !strings.Contains(err.Error(), row.id) {
			t.Errorf("project %s: %v", row.id, err)
		}
	}
	c.Tenant("broken", http.StatusServiceUnavailable)
	if err := f.CheckProject(t.Context(), "broken"); err == nil || reason(err) != "" {
		t.Errorf("a Keystone that fails: %v", err)
	}
	if f.Project() != neutrontest.Project {
		t.Errorf("our project is %s", f.Project())
	}
}
