package walk

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Names maps words of the document to the words of this run.
type Names map[string]string

// translate returns text with the document's words replaced by the run's. If one word is a
// prefix of another, the longer one is replaced.
func (n Names) translate(text string) string {
	words := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		return cmp.Or(len(b)-len(a), strings.Compare(a, b))
	})
	var pairs []string
	for _, word := range words {
		pairs = append(pairs, word, n[word])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// with returns n with word→run added. It returns false if word has another counterpart
// already, or if run is the counterpart of another word.
func (n Names) with(word, run string) (Names, bool) {
	if have, ok := n[word]; ok {
		return n, have == run
	}
	for _, have := range n {
		if have == run {
			return n, false
		}
	}
	more := maps.Clone(n)
	more[word] = run
	return more, true
}

// volatile are the tokens of a document that are not compared literally: find matches the
// token in the document, match the token in the output. A bound token must have the same
// counterpart everywhere.
var volatile = []struct {
	find, match string
	bound       bool
}{
	{find: `\.\.\.`, match: `.*`},
	{find: `[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`, match: `[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`, bound: true},
	{find: `[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}`, match: `[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}`, bound: true},
	{find: `\b[0-9a-f]{32}\b`, match: `[0-9a-f]{32}`, bound: true},
	{find: `-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b`, match: `-[a-z0-9]{8,10}-[a-z0-9]{5}`, bound: true},
	{find: `\d{4}-\d\d-\d\dT[\d:.]+Z?`, match: `\d{4}-\d\d-\d\dT[\d:.]+Z?`},
	{find: `[\d.]+(?:/[\d.]+)* ms\b`, match: `[\d.]+(?:/[\d.]+)* ms\b`},
	{find: `\b(?:\d+[dhms]){1,3}\b`, match: `(?:\d+[dhms]){1,3}\b`},
	{find: `-{3,}`, match: `-{3,}`},
	{find: `\s+`, match: `\s+`},
}

// matcher compares output with a document.
type matcher struct {
	varies []string
	tokens *regexp.Regexp
}

func newMatcher(words []string) matcher {
	var alternatives []string
	for _, w := range words {
		alternatives = append(alternatives, "("+regexp.QuoteMeta(w)+")")
	}
	for _, v := range volatile {
		alternatives = append(alternatives, "("+v.find+")")
	}
	return matcher{varies: words, tokens: regexp.MustCompile(strings.Join(alternatives, "|"))}
}

// tokenPattern returns the pattern for a token that m.tokens found, and whether it is bound.
// groups are its submatch indexes.
func (m matcher) tokenPattern(groups []int) (match string, bound bool) {
	for i := 2; i < len(groups); i += 2 {
		if groups[i] < 0 {
			continue
		}
		if which := i/2 - 1 - len(m.varies); which >= 0 {
			return volatile[which].match, volatile[which].bound
		}
		return `[\w.:-]+`, true
	}
	return "", false
}

// line reports whether one line matches. It returns names with the new ones added.
func (m matcher) line(want, got string, names Names) (Names, bool) {
	want, got = strings.TrimRight(want, " \t"), strings.TrimRight(got, " \t\r")
	pattern, bound, at := strings.Builder{}, []string{}, 0
	pattern.WriteString(`^\s*`)
	want = strings.TrimLeft(want, " \t")
	for _, groups := range m.tokens.FindAllStringSubmatchIndex(want, -1) {
		pattern.WriteString(regexp.QuoteMeta(want[at:groups[0]]))
		match, binds := m.tokenPattern(groups)
		if binds {
			bound = append(bound, want[groups[0]:groups[1]])
			match = "(" + match + ")"
		}
		pattern.WriteString(match)
		at = groups[1]
	}
	pattern.WriteString(regexp.QuoteMeta(want[at:]) + "$")
	found := regexp.MustCompile(pattern.String()).FindStringSubmatch(got)
	if found == nil {
		return names, false
	}
	for i, word := range bound {
		var ok bool
		if names, ok = names.with(word, found[i+1]); !ok {
			return names, false
		}
	}
	return names, true
}

func isWildcard(line string) bool { return strings.TrimSpace(line) == "..." }

// ordered reports whether the lines match in order. It returns names with the new ones added.
func (m matcher) ordered(want, got []string, names Names) (Names, bool) {
	if len(want) == 0 {
		return names, len(got) == 0
	}
	if !isWildcard(want[0]) {
		if len(got) == 0 {
			return names, false
		}
		more, ok := m.line(want[0], got[0], names)
		if !ok {
			return names, false
		}
		return m.ordered(want[1:], got[1:], more)
	}
	for skip := 0; skip <= len(got); skip++ {
		if more, ok := m.ordered(want[1:], got[skip:], names); ok {
			return more, true
		}
	}
	return names, false
}

// node is a line and the lines that are indented below it.
type node struct {
	line  string
	below []node
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// tree returns the lines as trees, by their indentation.
func tree(lines []string) []node {
	var nodes []node
	for i := 0; i < len(lines); {
		end := i + 1
		for end < len(lines) && indent(lines[end]) > indent(lines[i]) {
			end++
		}
		nodes = append(nodes, node{line: lines[i], below: tree(lines[i+1 : end])})
		i = end
	}
	return nodes
}

// unordered reports whether trees match whose sibling lines may come in any order. It calls
// next with the names of each possible match until next returns true: a sibling that
// matches by itself may be the wrong one for the rest.
func (m matcher) unordered(want, got []node, names Names, next func(Names) bool) bool {
	open := false
	for len(want) > 0 && isWildcard(want[0].line) {
		open, want = true, want[1:]
	}
	if len(want) == 0 {
		return (open || len(got) == 0) && next(names)
	}
	rest := want[1:]
	if open { // "..." applies to all siblings, at any position among them
		rest = append(append([]node{}, rest...), node{line: "..."})
	}
	for i := range got {
		more, ok := m.line(want[0].line, got[i].line, names)
		if !ok {
			continue
		}
		others := append(append([]node{}, got[:i]...), got[i+1:]...)
		below := func(n Names) bool { return m.unordered(rest, others, n, next) }
		if m.unordered(want[0].below, got[i].below, more, below) {
			return true
		}
	}
	return false
}

// output reports whether the output of a step matches. It returns names with the new ones
// added.
func (m matcher) output(s Step, got []string, names Names) (Names, bool) {
	if len(s.Want) == 0 {
		return names, true
	}
	want, got := trim(s.Want), trim(got)
	if !s.Unordered {
		return m.ordered(want, got, names)
	}
	result := names
	ok := m.unordered(tree(want), tree(got), names, func(n Names) bool { result = n; return true })
	return result, ok
}

// trim returns lines without the empty lines at the end.
func trim(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}
