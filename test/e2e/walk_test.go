//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/walk"
)

// The page is the test: see internal/walk.
func (l *lab) walk(t *testing.T) {
	const page = "docs/openstack-on-kubernetes.md"
	text, err := os.ReadFile(filepath.Join(l.repo, page))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := walk.Parse(page, string(text))
	if err != nil {
		t.Fatal(err)
	}
	l.leave(t, "net2") // of "make demo", or of a walk that stopped half way
	t.Cleanup(func() { l.prefix(t) })
	_, err = walk.Run(t.Context(), doc, walk.Options{
		Dir: t.TempDir(), Env: l.env, Patience: 2 * time.Minute,
		Log: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// prefix puts back the setting that the page changes: the default.
func (l *lab) prefix(t *testing.T) {
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
