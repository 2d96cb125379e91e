package reach_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/reach"
)

// probes are the protocols and ports that are checked between any two endpoints.
var probes = []reach.Flow{
	{Protocol: "tcp", Port: 80},
	{Protocol: "tcp", Port: 81},
	{Protocol: "tcp", Port: 8080},
	{Protocol: "tcp", Port: 8085},
	{Protocol: "udp", Port: 53},
	{Protocol: "udp", Port: 80},
	{Protocol: "sctp", Port: 80},
	{Protocol: "icmp"},
}

func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/policy/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	base, err := os.ReadFile("testdata/policy/world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var w reach.World
			if err := w.Add(string(base)); err != nil {
				t.Fatal(err)
			}
			c, err := reach.ReadCase(w, text)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Rows) == 0 {
				t.Fatal("a case without rows says nothing")
			}
			n := network(t, c.World)
			for _, r := range c.Rows {
				f, err := c.Flow(r)
				if err != nil {
					t.Fatal(err)
				}
				if got := n.Passes(f); got != r.Pass {
					t.Errorf("%s: passes %v, want %v", r, got, r.Pass)
				}
				if got := c.World.Allows(f); got != r.Pass {
					t.Errorf("%s: by the API's words %v, want %v", r, got, r.Pass)
				}
			}
			compareAll(t, c.World, probes)
		})
	}
}
