package controller

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
)

// fakeCloud is a Neutron with a router in it, whose id stands for $ROUTER in
// the scripts' files.
type fakeCloud struct {
	*neutrontest.Cloud
	octavia *octaviatest.Cloud
	// front is the clouds.yaml of both.
	front  string
	router string
}

// openstack [default] starts Neutron and names it in the settings; with default
// it is the cluster's default.
func (w *world) openstack(args []string) error {
	w.cloud.Cloud, w.cloud.octavia = neutrontest.New(w.t), octaviatest.New(w.t)
	id, err := w.make("router", "router1")
	if err == nil {
		w.cloud.front, err = octaviatest.Front(w.t, w.cloud.Cloud, w.cloud.octavia)
	}
	if err != nil {
		return err
	}
	w.cloud.router = id
	w.nbdb.Nbctl("lr-add", "neutron-"+id, "--", "set", "logical_router", "neutron-"+id, `external_ids:"neutron:router_name"=router1`)
	return w.configure(fmt.Sprintf("neutron: {cloud: %s, cloudsFile: %q, router: router1, default: %v, podCIDR: 10.1.0.0/16, pool: {min: 2, batch: 2}, externalNetwork: %s}\n",
		neutrontest.Name, w.cloud.front, slices.Contains(args, "default"), external))
}

var authURL = regexp.MustCompile(`auth_url: (\S+)/v3`)

// make makes something as another user of Neutron's would.
func (w *world) make(kind, name string) (string, error) {
	text, err := os.ReadFile(w.cloud.CloudsFile)
	if err != nil {
		return "", err
	}
	url := string(authURL.FindSubmatch(text)[1]) + "/v2.0/" + kind + "s"
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(fmt.Sprintf(`{%q:{"name":%q}}`, kind, name)))
	if err != nil {
		return "", err
	}
	r.Header.Set("X-Auth-Token", "token-0")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var made map[string]struct{ ID string }
	err = json.NewDecoder(answer.Body).Decode(&made)
	return made[kind].ID, err
}

// away has all calls to Neutron fail, back ends that. Pods' ports
// under way are made first, which their tags end.
func (w *world) away([]string) error {
	err := eventually("", func() (string, error) {
		return strings.Join(slices.DeleteFunc(w.cloud.Snapshot(), func(o string) bool {
			return !strings.Contains(o, "compute:kuryr") || strings.Contains(o, "kuryr-pool-port") || !strings.Contains(o, `"tags":[]`)
		}), "\n"), nil
	})
	if err != nil {
		return err
	}
	w.cloud.Fail(func(int, *http.Request) *neutrontest.Fault {
		return &neutrontest.Fault{Code: http.StatusServiceUnavailable}
	})
	return nil
}

func (w *world) back([]string) error {
	w.cloud.Fail(nil)
	return nil
}

// tenant ID CODE has Keystone answer so to who asks for another project.
func (w *world) tenant(args []string) error {
	code, err := strconv.Atoi(args[1])
	w.cloud.Tenant(args[0], code)
	return err
}

// things FILE COLLECTION FIELD...: what there is in Neutron, each different line once.
func (w *world) things(args []string) error {
	return w.compare(args[0], func() (string, error) {
		var out []string
		for _, text := range w.cloud.Snapshot() {
			of, text, _ := strings.Cut(text, " ")
			var o map[string]any
			if err := json.Unmarshal([]byte(text), &o); err != nil {
				return "", err
			}
			line := ""
			for _, field := range args[2:] {
				line += fmt.Sprint(o[field], " ")
			}
			if of == args[1] {
				out = append(out, line)
			}
		}
		slices.Sort(out)
		return strings.Join(slices.Compact(out), "\n"), nil
	})
}

// names FILE COLLECTION: Neutron has things of these names, each one or more times.
func (w *world) names(args []string) error {
	return w.compare(args[0], func() (string, error) {
		return strings.Join(slices.Compact(w.cloud.Names(args[1])), "\n"), nil
	})
}
