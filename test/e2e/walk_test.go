//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/walk"
)

// walkSharedOVN runs the walkthrough of profile shared-ovn.
func (l *lab) walkSharedOVN(t *testing.T) {
	l.leave(t, "net2") // left by "make demo" or by an interrupted walk
	t.Cleanup(func() { l.resetPrefix(t) })
	l.walk(t, "docs/openstack-on-kubernetes.md", walkTimeout)
}

// walkBareMetal runs the walkthrough of profile neutron.
func (l *lab) walkBareMetal(t *testing.T) {
	l.deleteDemo(t)
	t.Cleanup(func() { l.deleteDemo(t) })
	l.walk(t, "docs/kuryr-bare-metal.md", walkTimeout)
}

// walkDocuments runs the commands of documents that change nothing in the lab.
func (l *lab) walkDocuments(t *testing.T, names ...string) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) { l.walk(t, "docs/"+name+".md", walkTimeout) })
	}
}

// deleteDemo deletes the objects of the walkthrough and of "make demo PROFILE=neutron".
func (l *lab) deleteDemo(t *testing.T) {
	t.Helper()
	l.kubectl(t, "delete", "service", "demo", "demo-udp", "demo-outside", "--ignore-not-found")
	l.kubectl(t, "delete", "deployment", "demo", "--ignore-not-found")
	l.kubectl(t, "delete", "namespace", "private", "--ignore-not-found")
	l.kubectl(t, "delete", "subnet", "private", "--ignore-not-found", "--timeout=100s")
	l.kubectl(t, "patch", "vpc", l.vpc(t), "--type=merge", "-p", `{"spec":{"namespaces":[]}}`)
	until(t, time.Minute, func() error {
		if left := l.kubectl(t, "get", "klb", "-n", "default", "-o", "name"); strings.Contains(left, "/demo") {
			return fmt.Errorf("still there: %s", left)
		}
		return nil
	})
}

// walkTimeout is the time limit of one command of a document.
const walkTimeout = 2 * time.Minute

// walk runs the commands of a document and compares their output. See internal/walk.
func (l *lab) walk(t *testing.T, page string, timeout time.Duration) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.repo, page))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := walk.Parse(page, string(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = walk.Run(t.Context(), doc, walk.Options{
		Dir: t.TempDir(), Env: l.env, Timeout: timeout,
		Log: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// resetPrefix resets the setting routerPortPrefix, which the document changes, to its default.
func (l *lab) resetPrefix(t *testing.T) {
	file := filepath.Join(t.TempDir(), settings.Key)
	have := l.kubectl(t, "-n", settings.Namespace, "get", "configmap", settings.ConfigMap, "-o", `jsonpath={.data.isthmus\.yaml}`)
	want := regexp.MustCompile(`(?m)^routerPortPrefix:.*\n?`).ReplaceAllString(have, "")
	if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	made := l.kubectl(t, "-n", settings.Namespace, "create", "configmap", settings.ConfigMap, "--from-file="+file, "--dry-run=client", "-o", "yaml")
	if err := os.WriteFile(file, []byte(made), 0o600); err != nil {
		t.Fatal(err)
	}
	l.kubectl(t, "replace", "-f", file)
	l.kubectl(t, "-n", settings.Namespace, "rollout", "restart", "deployment/isthmus-controller")
	l.rolledOut(t)
}
