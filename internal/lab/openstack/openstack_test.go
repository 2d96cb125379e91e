package openstack

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRender(t *testing.T) {
	c := Config{
		Dir: "/lab/openstack", Bind: "172.31.0.1", SyncMode: "repair",
		NB: "tcp:172.31.0.1:6641", SB: "tcp:172.31.0.1:6642",
	}.defaulted()
	files, err := c.render()
	if err != nil {
		t.Fatal(err)
	}
	for file, lines := range map[string][]string{
		"etc/my.cnf": {
			"socket = /lab/openstack/mysql/s.sock",
			"skip-networking",
		},
		"etc/keystone.conf": {
			// utf8mb3 would be the right name, but PyMySQL does not know it
			"connection = mysql+pymysql://root@localhost/keystone?unix_socket=/lab/openstack/mysql/s.sock&charset=utf8",
		},
		"etc/neutron.conf": {
			"bind_host = 172.31.0.1", "bind_port = 9696", "username = neutron",
			"auth_url = http://172.31.0.1:5000/v3",
			"service_plugins = ovn-router,trunk,port_forwarding,qos,segments",
		},
		"etc/ml2.ini": {
			"ovn_nb_connection = tcp:172.31.0.1:6641", "ovn_sb_connection = tcp:172.31.0.1:6642",
			"neutron_sync_mode = repair", "extension_drivers = port_security,dns,qos",
		},
		"etc/octavia.conf": {
			"bind_port = 9876", "username = octavia", "endpoint = http://172.31.0.1:9696",
			"network_driver = allowed_address_pairs_driver",
		},
		"clouds.yaml": {
			"  admin:", "  k8s:", "      project_name: k8s", "      auth_url: http://172.31.0.1:5000/v3",
		},
	} {
		have := "\n" + files[file] + "\n"
		for _, line := range lines {
			if !strings.Contains(have, "\n"+line+"\n") {
				t.Errorf("%s lacks the line %q:\n%s", file, line, have)
			}
		}
	}
	for file, text := range files {
		if strings.Contains(text, "{{") || strings.Contains(text, "<no value>") {
			t.Errorf("%s is not rendered wholly:\n%s", file, text)
		}
	}
}

func TestAccountsFollowOctavia(t *testing.T) {
	names := func(a accounts) (out []string) {
		for _, x := range a.Accounts {
			out = append(out, x.User)
		}
		for _, x := range a.Services {
			out = append(out, x.Name+" "+x.URL)
		}
		return out
	}
	c := Config{Bind: "10.0.0.1"}.defaulted()
	if diff := cmp.Diff([]string{"neutron", "k8s", "neutron http://10.0.0.1:9696"}, names(c.accounts())); diff != "" {
		t.Error(diff)
	}
	c.Octavia = true
	want := []string{"neutron", "k8s", "octavia", "neutron http://10.0.0.1:9696", "octavia http://10.0.0.1:9876"}
	if diff := cmp.Diff(want, names(c.accounts())); diff != "" {
		t.Error(diff)
	}
}

func TestComponents(t *testing.T) {
	for _, octavia := range []bool{false, true} {
		var names []string
		seen := map[string]bool{"ovn-nb": true}
		for _, c := range Components(Config{Dir: "/lab", Octavia: octavia, Needs: []string{"ovn-nb"}}) {
			for _, need := range c.Needs {
				if !seen[need] {
					t.Errorf("%s needs %s, which does not stand before it", c.Name, need)
				}
			}
			seen[c.Name] = true
			names = append(names, c.Name)
		}
		if last := names[len(names)-1]; last != ResourcesName {
			t.Errorf("the last component is %s", last)
		}
		if seen["octavia"] != octavia {
			t.Errorf("octavia asked for: %v, there: %v", octavia, seen["octavia"])
		}
	}
}

func TestWithSocketsQuotes(t *testing.T) {
	got := Config{Dir: "/it's"}.withRunDir([]string{"uwsgi", "a b"})
	want := `mkdir -p /run/octavia && mount --bind '/it'\''s/octavia/sock' /run/octavia && exec 'uwsgi' 'a b'`
	if diff := cmp.Diff(want, got[len(got)-1]); diff != "" {
		t.Error(diff)
	}
}
