package openstack

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
	"golang.org/x/sync/errgroup"
)

// The database is created once per package version and cloud, with migrated schemas,
// accounts, services and endpoints. Later labs unpack it, which saves about 10 s of Python.

// account is a part of the input of accounts.py.
type account struct {
	User    string   `json:"user"`
	Project string   `json:"project"`
	Roles   []string `json:"roles"`
}

type service struct {
	Name string `json:"name"`
	Type string `json:"type"`
	URL  string `json:"url"`
}

type accounts struct {
	URL      string    `json:"url"`
	Password string    `json:"password"`
	Accounts []account `json:"accounts"`
	Services []service `json:"services"`
}

func (c Config) accounts() accounts {
	p := templateData{Config: c}
	a := accounts{
		URL: p.KeystoneURL(), Password: Password,
		Accounts: []account{
			{User: "neutron", Project: "service", Roles: []string{"admin", "service"}},
			{User: "k8s", Project: "k8s", Roles: []string{"member"}},
		},
		Services: []service{{Name: "neutron", Type: "network", URL: p.NeutronURL()}},
	}
	if c.External.IsValid() {
		// in Neutron up to 2023.1 only an administrator may bind a port to a host
		a.Accounts[1].Roles = append(a.Accounts[1].Roles, "admin")
	}
	if c.Octavia {
		a.Accounts = append(a.Accounts, account{User: "octavia", Project: "service", Roles: []string{"admin", "service"}})
		a.Services = append(a.Services, service{Name: "octavia", Type: "load-balancer", URL: p.OctaviaURL()})
	}
	return a
}

// database creates MariaDB's files, with the tables and accounts of OpenStack.
type database struct{ Config }

func (c database) template() supervise.Component {
	return supervise.Component{
		Name: "openstack/database",
		Do:   c.makeTemplate,
		Done: func(ctx context.Context) bool {
			path, err := c.templatePath(ctx)
			return exists(c.dataDir()) || err == nil && exists(path)
		},
	}
}

func (c database) mariadb() supervise.Component {
	return supervise.Component{
		Name:    "mariadb",
		Needs:   []string{"openstack/database"},
		Argv:    []string{"mariadbd", "--defaults-file=" + filepath.Join(c.Dir, "etc", "my.cnf")},
		Env:     environment(),
		Prepare: c.unpackDatabase,
		Ready:   c.databaseAnswers,
	}
}

func (c database) dataDir() string { return filepath.Join(c.Dir, "mysql", "data") }

// templatePath returns the path of the template. It contains a checksum of everything that
// the template depends on.
func (c database) templatePath(ctx context.Context) (string, error) {
	packages := []string{"python3-keystone", "python3-neutron", "mariadb-server-core"}
	if c.Octavia {
		packages = append(packages, "python3-octavia")
	}
	args := append([]string{"dpkg-query", "-W", "-f", "${Package}=${Version}\n"}, packages...)
	versions, err := command{argv: args}.output(ctx)
	if err != nil {
		return "", fmt.Errorf("versions of OpenStack's packages (are they installed?): %w", err)
	}
	want, err := json.Marshal(c.accounts())
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, part := range [][]byte{versions, want, []byte(source("scripts/accounts.py")), []byte(source("etc/my.cnf"))} {
		sum.Write(part)
	}
	return filepath.Join(c.CacheDir, c.templatePrefix()+hex.EncodeToString(sum.Sum(nil))[:16]+".tar"), nil
}

// templatePrefix returns the prefix of the template's file name. It contains the address of
// the catalog's endpoints, so labs side by side have different templates.
func (c database) templatePrefix() string { return "openstack-database-" + c.Bind + "-" }

// makeTemplate creates the template in a directory of its own, with a database server of its
// own. So a killed run leaves nothing that the next run would take for complete.
func (c database) makeTemplate(ctx context.Context) error {
	path, err := c.templatePath(ctx)
	if err != nil {
		return err
	}
	t := c
	t.Dir = filepath.Join(c.Dir, "template")
	if err := os.RemoveAll(t.Dir); err != nil {
		return err
	}
	if err := t.fillDatabase(ctx); err != nil {
		return fmt.Errorf("database of OpenStack: %w", err)
	}
	if err := os.MkdirAll(c.CacheDir, 0o755); err != nil {
		return err
	}
	tar := command{argv: []string{"tar", "-C", filepath.Dir(t.dataDir()), "-cSf", path + ".new", "data"}}
	if err := tar.run(ctx); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), c.removeOldTemplates(path), os.RemoveAll(t.Dir))
}

// removeOldTemplates removes the earlier templates with the same prefix. Each has more than
// 100 MB, and only the last is likely to be used again.
func (c database) removeOldTemplates(path string) error {
	all, err := filepath.Glob(filepath.Join(filepath.Dir(path), c.templatePrefix()+"*.tar"))
	for _, other := range all {
		if other != path {
			err = errors.Join(err, os.Remove(other))
		}
	}
	return err
}

func (c database) fillDatabase(ctx context.Context) error {
	if err := c.write(); err != nil {
		return err
	}
	if err := c.fernetKeys(); err != nil {
		return err
	}
	install := command{argv: []string{
		"mariadb-install-db", "--no-defaults", "--user=root", "--datadir=" + c.dataDir(),
		"--auth-root-authentication-method=normal", "--skip-test-db",
	}}
	if err := install.run(ctx); err != nil {
		return err
	}
	server := command{argv: c.mariadb().Argv}
	stop, err := server.start(ctx)
	if err != nil {
		return err
	}
	if err := c.migrate(ctx); err != nil {
		_ = stop() // the first error matters more
		return err
	}
	return stop()
}

func (c database) migrate(ctx context.Context) error {
	if err := await(ctx, time.Minute, c.databaseAnswers); err != nil {
		return err
	}
	etc := func(name string) string { return filepath.Join(c.Dir, "etc", name) }
	create := command{argv: []string{
		"mariadb", "--no-defaults", "-S", templateData{Config: c.Config}.Socket(), "-e",
		"create database keystone; create database neutron; create database octavia",
	}}
	if err := create.run(ctx); err != nil {
		return err
	}
	want, err := json.Marshal(c.accounts())
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		sync := command{argv: []string{"keystone-manage", "--config-file", etc("keystone.conf"), "db_sync"}}
		if err := sync.run(ctx); err != nil {
			return err
		}
		return command{argv: []string{python, etc("accounts.py"), etc("keystone.conf")}, stdin: want}.run(ctx)
	})
	g.Go(func() error {
		argv := append(append([]string{"neutron-db-manage"}, c.neutronFiles()...), "upgrade", "heads")
		return command{argv: argv}.run(ctx)
	})
	if c.Octavia {
		g.Go(func() error {
			return command{argv: []string{"octavia-db-manage", "--config-file", etc("octavia.conf"), "upgrade", "head"}}.run(ctx)
		})
	}
	return g.Wait()
}

func (c database) unpackDatabase(ctx context.Context) error {
	if err := c.write(); err != nil {
		return err
	}
	if exists(c.dataDir()) {
		return nil
	}
	path, err := c.templatePath(ctx)
	if err != nil {
		return err
	}
	part := filepath.Join(c.Dir, "mysql", "new")
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(part, 0o700); err != nil {
		return err
	}
	if err := (command{argv: []string{"tar", "-C", part, "-xf", path}}).run(ctx); err != nil {
		return fmt.Errorf("unpack the database template: %w", err)
	}
	return os.Rename(filepath.Join(part, "data"), c.dataDir())
}

// databaseAnswers returns nil if the server sends the first byte of its greeting.
func (c database) databaseAnswers(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", templateData{Config: c.Config}.Socket())
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// fernetKeys writes the keys that "keystone-manage fernet_setup" would: a staged key 0 and a
// primary key 1. It keeps existing keys.
func (c database) fernetKeys() error {
	for _, name := range []string{"0", "1"} {
		path := filepath.Join(c.Dir, "keystone", "fernet", name)
		if b, err := os.ReadFile(path); err == nil && len(bytes.TrimSpace(b)) > 0 {
			continue
		}
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return err
		}
		if err := writeChanged(path, base64.URLEncoding.EncodeToString(key), 0o600); err != nil {
			return fmt.Errorf("fernet key: %w", err)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
