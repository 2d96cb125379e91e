package openstack

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

func (c Config) keystone() supervise.Component {
	return supervise.Component{
		Name:  "keystone",
		Needs: []string{"mariadb"},
		Argv:  c.uwsgi(c.KeystonePort, "/usr/bin/keystone-wsgi-public"),
		Env:   append(environment(), "OS_KEYSTONE_CONFIG_FILES="+filepath.Join(c.Dir, "etc", "keystone.conf")),
		Prepare: func(context.Context) error {
			if err := c.write(); err != nil {
				return err
			}
			return database{c}.fernetKeys()
		},
		Ready: answers(templateData{Config: c}.KeystoneURL()),
	}
}

// uwsgi returns the command line that serves a WSGI program on a port in one process.
func (c Config) uwsgi(port int, program string) []string {
	return []string{
		"uwsgi", "--plugin", "python3", "--http-socket", net.JoinHostPort(c.Bind, strconv.Itoa(port)),
		"--master", "--die-on-term", "--need-app", "--processes", "1", "--threads", "4",
		"--enable-threads", "--lazy-apps", "--thunder-lock", "--buffer-size", "65535",
		"--add-header", "Connection:close", "--disable-logging", "--wsgi-file", program,
	}
}

// neutron returns the component with the API, the RPC worker and OVN's maintenance worker.
// It can start without Keystone.
func (c Config) neutron() supervise.Component {
	return supervise.Component{
		Name:    "neutron",
		Needs:   append([]string{"mariadb"}, c.Needs...),
		Argv:    append([]string{"neutron-server"}, c.neutronFiles()...),
		Env:     environment(),
		Prepare: func(context.Context) error { return c.write() },
		Ready: func(ctx context.Context) error {
			if err := answers(templateData{Config: c}.NeutronURL() + "/")(ctx); err != nil {
				return err
			}
			return c.hasDropGroup(ctx)
		},
	}
}

// hasDropGroup returns nil if Neutron has created its first port group in the northbound
// database. The API answers earlier, but until then the creation of every port fails.
func (c Config) hasDropGroup(ctx context.Context) error {
	const group = "neutron_pg_drop"
	out, err := command{argv: []string{
		"ovn-nbctl", "--no-leader-only", "--timeout=5", "--db=" + c.NB, "--bare", "--columns=name", "find", "Port_Group", "name=" + group,
	}}.output(ctx)
	if err == nil && !strings.Contains(string(out), group) {
		err = fmt.Errorf("neutron has not made port group %s yet", group)
	}
	return err
}

func (c Config) neutronFiles() []string {
	etc := filepath.Join(c.Dir, "etc")
	return []string{"--config-file", filepath.Join(etc, "neutron.conf"), "--config-file", filepath.Join(etc, "ml2.ini")}
}

// SyncArgv returns the command line that compares Neutron with OVN, in mode "log" or
// "repair".
func (c Config) SyncArgv(mode string) []string {
	argv := append([]string{"/usr/bin/neutron-ovn-db-sync-util"}, c.neutronFiles()...)
	return append(argv, "--ovn-neutron_sync_mode", mode)
}

// Environment returns the variables for the openstack client and SyncArgv. cloud is one of
// Clouds. They bypass the user's HTTP proxy, because the API is on this machine.
func (c Config) Environment(cloud string) []string {
	return []string{"OS_CLIENT_CONFIG_FILE=" + c.CloudsFile(), "OS_CLOUD=" + cloud, "no_proxy=" + c.Bind, "NO_PROXY=" + c.Bind}
}

func (c Config) mirror() supervise.Component {
	return supervise.Component{
		Name:    "chassis-mirror",
		Needs:   slices.Clone(c.Needs),
		Argv:    []string{python, filepath.Join(c.Dir, "etc", "chassis-mirror.py"), c.SB, "/usr/share/ovn/ovn-sb.ovsschema"},
		Env:     environment(),
		Prepare: func(context.Context) error { return c.write() },
	}
}

func (c Config) octaviaDriver() supervise.Component {
	socket := filepath.Join(c.Dir, "octavia", "sock", "status.sock")
	argv := []string{"octavia-driver-agent", "--config-file", filepath.Join(c.Dir, "etc", "octavia.conf")}
	return supervise.Component{
		Name:  "octavia-driver-agent",
		Needs: append([]string{"mariadb"}, c.Needs...),
		Argv:  c.withRunDir(argv),
		Env:   environment(),
		Prepare: func(context.Context) error {
			// a leftover socket would count as ready
			if err := os.RemoveAll(socket); err != nil {
				return err
			}
			return c.write()
		},
		Ready: func(context.Context) error {
			_, err := os.Stat(socket)
			return err
		},
	}
}

func (c Config) octavia() supervise.Component {
	args := "--config-file " + filepath.Join(c.Dir, "etc", "octavia.conf")
	argv := append(c.uwsgi(c.OctaviaPort, "/usr/bin/octavia-wsgi"), "--pyargv", args)
	return supervise.Component{
		Name:    "octavia",
		Needs:   []string{"mariadb", "octavia-driver-agent", "neutron"},
		Argv:    c.withRunDir(argv),
		Env:     environment(),
		Prepare: func(context.Context) error { return c.write() },
		Ready:   answers(templateData{Config: c}.OctaviaURL() + "/"),
	}
}

// withRunDir returns the command line that runs argv with this cloud's own /run/octavia.
// The OVN provider and its agent communicate over fixed paths there.
func (c Config) withRunDir(argv []string) []string {
	mount := "mkdir -p /run/octavia && mount --bind " + quote(filepath.Join(c.Dir, "octavia", "sock")) + " /run/octavia"
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = quote(a)
	}
	return []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", mount + " && exec " + strings.Join(words, " ")}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// directClient returns an HTTP client that uses no proxy, because all URLs are on this machine.
func directClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := directClient().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusMultipleChoices {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}
