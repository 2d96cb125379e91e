package controller

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
)

// fakeCloud is a fake Neutron and Octavia. $ROUTER in the scripts' files stands
// for the id of its router, @name for the id of the object of that name.
type fakeCloud struct {
	*neutrontest.Cloud
	octavia *octaviatest.Cloud
	// proxyClouds is the path of the clouds.yaml that leads to the proxy.
	proxyClouds string
	proxy       *proxy
	router      string
	byDefault   bool
	interval    string
}

// openstack [default] [quick] starts the fake cloud and writes it into the
// settings. With default it is the cluster's default fabric. With quick the
// controller reads it every 300 ms.
func (w *world) openstack(args []string) error {
	w.cloud.Cloud, w.cloud.octavia = neutrontest.New(w.t), octaviatest.New(w.t)
	err := w.foreign([]string{"router", "router1"})
	if err == nil {
		w.cloud.proxyClouds, w.cloud.proxy, err = newProxy(w.t, w.cloud.Cloud, w.cloud.octavia)
	}
	if err != nil {
		return err
	}
	id := w.named("@router1")
	w.cloud.router, w.cloud.byDefault = id, slices.Contains(args, "default")
	w.nbdb.Nbctl("lr-add", "neutron-"+id, "--", "set", "logical_router", "neutron-"+id, `external_ids:"neutron:router_name"=router1`)
	w.cloud.interval = "1m"
	if slices.Contains(args, "quick") {
		w.cloud.interval = "300ms"
	}
	return w.settings([]string{"securityGroups: []"})
}

// settings MORE writes the settings again, with MORE in section neutron.
func (w *world) settings(args []string) error {
	return w.configure(fmt.Sprintf("neutron: {cloud: %s, cloudsFile: %q, router: router1, default: %v, podCIDR: 10.1.0.0/16, pool: {min: 2, batch: 2}, externalNetwork: %s, lookEvery: %s, %s}\n",
		neutrontest.Name, w.cloud.proxyClouds, w.cloud.byDefault, external, w.cloud.interval, w.named(args[0])))
}

// away makes all calls to Neutron fail; back ends that. It first waits until the
// ports of pods that are being created have their tags.
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

// full makes the creation of security groups fail for lack of quota; back ends
// that.
func (w *world) full([]string) error {
	w.cloud.Fail(func(_ int, r *http.Request) *neutrontest.Fault {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/security-groups") {
			return nil
		}
		return &neutrontest.Fault{Code: http.StatusConflict, Word: "OverQuota", Text: "Quota exceeded for resources: ['security_group']."}
	})
	return nil
}

func (w *world) back([]string) error {
	w.cloud.Fail(nil)
	return nil
}

// tenant ID CODE makes Keystone answer requests for another project with CODE.
func (w *world) tenant(args []string) error {
	code, err := strconv.Atoi(args[1])
	w.cloud.Tenant(args[0], code)
	return err
}

// things FILE COLLECTION FIELD... waits until the file has the fields of each
// object in Neutron. Duplicate lines count once.
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

// names FILE COLLECTION waits until the file has the names of the objects in
// Neutron. Duplicate names count once.
func (w *world) names(args []string) error {
	return w.compare(args[0], func() (string, error) {
		return strings.Join(slices.Compact(w.cloud.Names(args[1])), "\n"), nil
	})
}

// group NAME creates a security group as another user would.
func (w *world) group(args []string) error {
	return w.foreign([]string{"security_group", args[0]})
}

// members FILE waits until the file has each pod's port and the names of its
// security groups.
func (w *world) members(args []string) error {
	return w.compare(args[0], func() (string, error) {
		var b strings.Builder
		groups := w.objects("security-groups")
		for _, p := range w.objects("ports") {
			if !strings.Contains(p.Name, "/") {
				continue
			}
			var in []string
			for _, id := range p.Groups {
				in = append(in, groups[id].Name)
			}
			slices.Sort(in)
			fmt.Fprintf(&b, "%s: %s\n", p.Name, strings.Join(in, " "))
		}
		return b.String(), nil
	})
}

// rules FILE GROUP waits until the file has the rules of a security group, with
// its peers by name.
func (w *world) rules(args []string) error {
	return w.compare(args[0], func() (string, error) {
		var b strings.Builder
		groups := w.objects("security-groups")
		for _, r := range w.objects("security-group-rules") {
			if groups[r.Group].Name == args[1] {
				fmt.Fprintf(&b, "%s %s %s %d-%d %s\n", r.Direction, r.EtherType, cmp.Or(r.Protocol, "any"), r.First, r.Last,
					cmp.Or(groups[r.RemoteGroup].Name, r.Remote, "anybody"))
			}
		}
		return b.String(), nil
	})
}

// neutronObject has the fields of Neutron's objects that the scripts compare.
type neutronObject struct {
	ID, Name    string
	Groups      []string `json:"security_groups"`
	Group       string   `json:"security_group_id"`
	Direction   string
	EtherType   string
	Protocol    string
	First       int    `json:"port_range_min"`
	Last        int    `json:"port_range_max"`
	Remote      string `json:"remote_ip_prefix"`
	RemoteGroup string `json:"remote_group_id"`
	IPs         []struct {
		Addr string `json:"ip_address"`
	} `json:"fixed_ips"`
}

func (w *world) objects(collection string) map[string]neutronObject {
	out := map[string]neutronObject{}
	for _, line := range w.cloud.Snapshot() {
		var o neutronObject
		kind, text, _ := strings.Cut(line, " ")
		if kind == collection && json.Unmarshal([]byte(text), &o) == nil {
			out[o.ID] = o
		}
	}
	return out
}
