package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDiagram(t *testing.T) {
	t.Parallel()
	has := Diagram(map[string][]string{
		"internal/app/agent":   {"internal/netdev", "internal/plug", "internal/intent"},
		"internal/netdev":      {"internal/plug", "internal/netdev/deep"},
		"internal/netdev/deep": {"internal/offload"},
		"internal/plug":        {"internal/intent"},
		"internal/intent":      nil,
		"cmd/isthmus-agent":    {"internal/app/agent"},
	})
	want := "```mermaid\nflowchart TD\n" +
		"  app_agent[app/agent] --> netdev[netdev]\n" +
		"  netdev[netdev] --> offload[offload] & plug[plug]\n" +
		"  plug[plug] --> intent[intent]\n" +
		"```\n"
	if has != want {
		t.Errorf("is\n%swant\n%s", has, want)
	}
}

// The table of packages in docs/design.md names each package that has a rule
// of its own, not those below another.
func TestDesignNamesPackages(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "design.md"))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") {
			table.WriteString(line)
		}
	}
	for path := range Rules {
		_, err := os.Stat(filepath.Join("..", "..", path))
		_, _, below := ruleOf(parent(path))
		if err == nil && !below && strings.HasPrefix(path, "internal/") && !strings.Contains(table.String(), "`"+path+"`") {
			t.Errorf("%s has no line in the table of packages in docs/design.md", path)
		}
	}
}
