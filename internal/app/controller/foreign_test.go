package controller

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

var authURL = regexp.MustCompile(`auth_url: (\S+)/v3`)

// foreign KIND NAME [FIELDS] creates an object in Neutron as another user would.
func (w *world) foreign(args []string) error {
	more := ""
	if len(args) > 2 {
		more = ", " + w.named(args[2])
	}
	return w.call(http.MethodPost, strings.ReplaceAll(args[0], "_", "-")+"s", fmt.Sprintf(`{%q:{"name":%q%s}}`, args[0], args[1], more))
}

// unmake COLLECTION NAME deletes an object in Neutron as another user would.
func (w *world) unmake(args []string) error {
	return w.call(http.MethodDelete, args[0]+"/"+w.named("@"+args[1]), "")
}

func (w *world) call(method, path, body string) error {
	text, err := os.ReadFile(w.cloud.CloudsFile)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(method, string(authURL.FindSubmatch(text)[1])+"/v2.0/"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Auth-Token", "token-0")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return nil
}

var objectRef = regexp.MustCompile(`@[a-z0-9-]+`)

// named replaces each @name in a text with the id of the Neutron object of that
// name.
func (w *world) named(text string) string {
	if w.cloud.Cloud == nil || !strings.Contains(text, "@") {
		return text
	}
	ids := map[string]string{}
	for _, line := range w.cloud.Snapshot() {
		_, object, _ := strings.Cut(line, " ")
		var o struct{ ID, Name string }
		if err := json.Unmarshal([]byte(object), &o); err == nil {
			ids["@"+o.Name] = o.ID
		}
	}
	return objectRef.ReplaceAllStringFunc(text, func(name string) string {
		if id, known := ids[name]; known {
			return id
		}
		return name
	})
}

// quota KIND NUMBER sets the project's quota.
func (w *world) quota(args []string) error {
	return w.call(http.MethodPut, "quotas/"+neutrontest.Project, fmt.Sprintf(`{"quota": {%q: %s}}`, args[0], args[1]))
}
