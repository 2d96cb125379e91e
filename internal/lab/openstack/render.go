package openstack

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"text/template"
)

//go:embed etc scripts
var sources embed.FS

// templateData is the data of the configuration templates: Config and derived values.
type templateData struct {
	Config
	only string // the only cloud in clouds.yaml; empty for all
}

func (p templateData) Socket() string { return filepath.Join(p.Dir, "mysql", "s.sock") }
func (p templateData) KeystoneURL() string {
	return fmt.Sprintf("http://%s:%d/v3", p.Bind, p.KeystonePort)
}

func (p templateData) NeutronURL() string { return fmt.Sprintf("http://%s:%d", p.Bind, p.NeutronPort) }

func (p templateData) OctaviaURL() string { return fmt.Sprintf("http://%s:%d", p.Bind, p.OctaviaPort) }
func (p templateData) Password() string   { return Password }

// Clouds returns the clouds of the clouds.yaml.
func (p templateData) Clouds() []string {
	if p.only != "" {
		return []string{p.only}
	}
	return Clouds()
}

// Database returns the SQLAlchemy URL of a database. The character set is named utf8 because
// PyMySQL does not know the name utf8mb3.
func (p templateData) Database(name string) string {
	return fmt.Sprintf("mysql+pymysql://root@localhost/%s?unix_socket=%s&charset=utf8", name, p.Socket())
}

// As returns the data for the template of one service account.
func (p templateData) As(user string) any {
	return struct {
		templateData
		User string
	}{p, user}
}

// render returns the content of a cloud's files by their path below Dir. Its templates are
// embedded in the program.
func (c Config) render() (map[string]string, error) {
	out := map[string]string{}
	for name, dest := range map[string]string{
		"my.cnf": "etc/my.cnf", "keystone.conf": "etc/keystone.conf",
		"neutron.conf": "etc/neutron.conf", "ml2.ini": "etc/ml2.ini",
		"octavia.conf": "etc/octavia.conf", "octavia-policy.yaml": "etc/octavia-policy.yaml",
		"clouds.yaml": "clouds.yaml",
	} {
		text, err := c.renderOne(name)
		if err != nil {
			return nil, fmt.Errorf("configuration %s: %w", name, err)
		}
		out[dest] = text
	}
	for _, script := range []string{"accounts.py", "chassis-mirror.py"} {
		out["etc/"+script] = source("scripts/" + script)
	}
	return out, nil
}

func (c Config) renderOne(name string) (string, error) { return c.renderFor(name, "") }

func (c Config) renderFor(name, cloud string) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(sources, "etc/account.tmpl", "etc/"+name)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.ExecuteTemplate(&b, name, templateData{c, cloud})
	return b.String(), err
}

// source returns an embedded file. It panics if there is none, which is a bug.
func source(name string) string {
	b, err := fs.ReadFile(sources, path.Clean(name))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// write writes the files of a cloud below Dir, except those that have not changed.
func (c Config) write() error {
	for _, d := range []string{"etc", "mysql", "keystone/fernet", "neutron/lock", "octavia/lock", "octavia/sock"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, d), 0o700); err != nil {
			return fmt.Errorf("directory of OpenStack: %w", err)
		}
	}
	files, err := c.render()
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := writeChanged(filepath.Join(c.Dir, name), text, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func writeChanged(path, text string, mode fs.FileMode) error {
	old, err := os.ReadFile(path)
	if err == nil && string(old) == text {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
