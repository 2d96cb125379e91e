// Package ovn knows how the lab runs OVN and Open vSwitch: the central databases, and
// on each node a switch and ovn-controller. The switches use the userspace datapath,
// because the machine's kernel may lack the openvswitch module.
package ovn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Names of the components that other packages need.
const (
	Network    = "network"
	Northbound = "ovn-nb"
	Southbound = "ovn-sb"
	Northd     = "ovn-northd"
)

// probe is the inactivity probe of OVSDB connections in milliseconds. With the default
// of 5 s, a busy machine drops healthy connections.
const probe = "60000"

// Central is OVN's central part: the databases and northd.
type Central struct {
	Dir  string // databases and sockets
	Site host.Site
}

// NB returns the northbound database's address on the underlay.
func (c Central) NB() string { return "tcp:" + c.Site.Gateway().Addr().String() + ":6641" }

// SB returns the southbound database's address on the underlay.
func (c Central) SB() string { return "tcp:" + c.Site.Gateway().Addr().String() + ":6642" }

func (c Central) socket(db string) string { return "unix:" + filepath.Join(c.Dir, "ovn"+db+"_db.sock") }

// Components returns the two databases and northd.
func (c Central) Components() []supervise.Component {
	return []supervise.Component{
		{Name: Network, Do: c.Site.EnsureBridge},
		c.database(Northbound, "nb", "OVN_Northbound,NB_Global,connections"),
		c.database(Southbound, "sb", "OVN_Southbound,SB_Global,connections"),
		{Name: "ovn-nb/settings", Needs: []string{Northbound, Network}, Do: c.settings("nb", "6641")},
		{Name: "ovn-sb/settings", Needs: []string{Southbound, Network}, Do: c.settings("sb", "6642")},
		{
			Name:  Northd,
			Needs: []string{"ovn-nb/settings", "ovn-sb/settings"},
			Argv: []string{
				"ovn-northd", "--ovnnb-db=" + c.socket("nb"), "--ovnsb-db=" + c.socket("sb"),
				"--unixctl=" + filepath.Join(c.Dir, "northd.ctl"), "-vconsole:info", "-vsyslog:off",
			},
			Env: c.env(),
		},
	}
}

func (c Central) env() []string {
	return []string{"OVN_RUNDIR=" + c.Dir, "OVS_RUNDIR=" + c.Dir}
}

func (c Central) database(name, db, remote string) supervise.Component {
	file := filepath.Join(c.Dir, db+".db")
	return supervise.Component{
		Name: name,
		Argv: []string{
			"ovsdb-server", "--remote=p" + c.socket(db), "--remote=db:" + remote,
			"--unixctl=" + filepath.Join(c.Dir, db+".ctl"), "-vconsole:info", "-vsyslog:off", file,
		},
		Env:     c.env(),
		Prepare: func(ctx context.Context) error { return createDB(ctx, file, "/usr/share/ovn/ovn-"+db+".ovsschema") },
		Ready:   succeeds("ovsdb-client", "--timeout=5", "list-dbs", c.socket(db)),
	}
}

// settings returns a step that makes a database listen on the underlay.
func (c Central) settings(db, port string) func(context.Context) error {
	listen := "ptcp:" + port + ":" + c.Site.Gateway().Addr().String()
	argv := []string{
		"ovn-" + db + "ctl", "--no-leader-only", "--timeout=20", "--db=" + c.socket(db),
		"init", "--", "--inactivity-probe=" + probe, "set-connection", listen,
	}
	if db == "nb" {
		argv = append(argv, "--", "set", "nb_global", ".", "options:northd_probe_interval="+probe)
	}
	return func(ctx context.Context) error {
		_, err := host.Run(ctx, argv...)
		return err
	}
}

func createDB(ctx context.Context, file, schema string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	part := file + ".new" // a killed run must not leave an incomplete database
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if _, err := host.Run(ctx, "ovsdb-tool", "create", part, schema); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// succeeds returns a Ready that runs a command and errs if the command fails.
func succeeds(argv ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := host.Run(ctx, argv...)
		return err
	}
}
