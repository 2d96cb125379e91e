package arch

import (
	"maps"
	"slices"
	"strings"
)

// Diagram returns the packages as a Mermaid flow chart: one box for each rule, and
// an arrow to each box that it imports. imports has the imports of each package,
// all as paths below the module. Arrows that follow from others are left out: if a
// imports b and b imports c, there is no arrow from a to c. Commands, tests, fakes,
// this package, and packages without any arrow are left out, too.
func Diagram(imports map[string][]string) string {
	edges := reduced(byRule(imports))
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TD\n")
	for _, from := range slices.Sorted(maps.Keys(edges)) {
		to := slices.Sorted(maps.Keys(edges[from]))
		if len(to) == 0 { // the arrows to it draw it
			continue
		}
		boxes := make([]string, len(to))
		for i, name := range to {
			boxes[i] = box(name)
		}
		b.WriteString("  " + box(from) + " --> " + strings.Join(boxes, " & ") + "\n")
	}
	b.WriteString("```\n")
	return b.String()
}

// graph maps each box to the boxes that its arrows lead to.
type graph map[string]map[string]bool

// byRule returns the graph whose boxes are the paths of the packages' rules.
func byRule(imports map[string][]string) graph {
	g := graph{}
	for pkg, all := range imports {
		from, drawn := folded(pkg)
		if !drawn {
			continue
		}
		if g[from] == nil {
			g[from] = map[string]bool{}
		}
		for _, i := range all {
			// No arrow leads to a box above: ovn/rows imports ovn/nbdb, which has ovn's rule.
			if to, _ := folded(i); !under(from, to) {
				g[from][to] = true
			}
		}
	}
	return g
}

func folded(pkg string) (at string, drawn bool) {
	at, _, ok := ruleOf(pkg)
	_, _, below := ruleOf(parent(at))
	fake := below && strings.HasSuffix(at, "test")
	return at, ok && !fake && at != "cmd" && at != "test" && at != "internal/arch"
}

// reduced returns g without each arrow that a longer path replaces.
func reduced(g graph) graph {
	r := graph{}
	for from, to := range g {
		r[from] = maps.Clone(to)
		for between := range to {
			for beyond := range reach(g, between) {
				delete(r[from], beyond)
			}
		}
	}
	return r
}

// reach returns all boxes that arrows lead to from a box, directly or not.
func reach(g graph, from string) map[string]bool {
	seen := map[string]bool{}
	for todo := []string{from}; len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		for to := range g[at] {
			if !seen[to] {
				seen[to] = true
				todo = append(todo, to)
			}
		}
	}
	return seen
}

// box returns Mermaid's name and label of a box.
func box(path string) string {
	label := strings.TrimPrefix(path, "internal/")
	return strings.ReplaceAll(label, "/", "_") + "[" + label + "]"
}
