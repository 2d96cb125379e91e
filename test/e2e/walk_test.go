//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

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
	t.Cleanup(func() { l.prefix(t) })
	_, err = walk.Run(t.Context(), doc, walk.Options{
		Dir: t.TempDir(), Env: l.env, Patience: 2 * time.Minute,
		Log: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// prefix puts back the setting that the page changes.
func (l *lab) prefix(t *testing.T) {
	l.run(t, "bash", "-c", `kubectl -n kube-system get configmap isthmus-config -o yaml |
		sed 's/routerPortPrefix: .*/routerPortPrefix: lrp-/' | kubectl apply -f - &&
		kubectl -n kube-system rollout restart deployment isthmus-controller &&
		kubectl -n kube-system rollout status deployment isthmus-controller --timeout=120s`)
}
