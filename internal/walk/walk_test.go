package walk

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// markdown returns text with ~ replaced by the backquote.
func markdown(text string) string { return strings.ReplaceAll(text, "~", "`") }

func walk(t *testing.T, text string) (Names, error) {
	t.Helper()
	d, err := Parse("page.md", markdown(text))
	if err != nil {
		t.Fatal(err)
	}
	return Run(t.Context(), d, Options{
		Shell: []string{"sh"}, Dir: t.TempDir(), Env: os.Environ(),
		Timeout: 3 * time.Second, Interval: 10 * time.Millisecond, Log: func(s string) { t.Log(s) },
	})
}

func TestParse(t *testing.T) {
	t.Parallel()
	d, err := Parse("page.md", markdown(`
<!-- walk: varies 192.168.1.61 worker -->
~~~yaml file=a.yaml
a: 1
~~~

~~~yaml
only: shown
~~~
~~~console until
# echo one \
  two
one two
$ cat <<'EOF'
# not a command
EOF
# not a command either
# true
~~~
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Doc{
		Name:   "page.md",
		Varies: []string{"192.168.1.61", "worker"},
		Steps: []Step{
			{Line: 4, File: "a.yaml", Text: "a: 1\n"},
			{Line: 11, Text: "echo one \\\n  two", Want: []string{"one two"}, Until: true},
			{Line: 14, Text: "cat <<'EOF'\n# not a command\nEOF", Until: true},
			{Line: 17, Text: "not a command either", Until: true},
			{Line: 18, Text: "true", Until: true},
		},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"~~~console\n# true\n":           "page.md:1: the block has no end",
		"~~~console\nhello\n~~~\n":       `page.md:2: output before the first command: "hello"`,
		"x\n~~~console soon\n# a\n~~~\n": `page.md:2: a console block cannot be "soon": only until and unordered`,
	} {
		_, err := Parse("page.md", markdown(text))
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, want %s", text, err, want)
		}
	}
}

func TestRunKeepsShellAndTranslates(t *testing.T) {
	t.Parallel()
	names, err := walk(t, `
<!-- walk: varies 10.0.0.1 -->
~~~console
# ID=22040ed5-0598-4f77-bffd-e7fd4db47e90 ADDRESS=10.0.0.7
# printf 'NAME   ADDRESS   AGE\nneutron-%s  %s  31m\n' $ID $ADDRESS
NAME                                           ADDRESS    AGE
neutron-00000000-0000-0000-0000-000000000001   10.0.0.1   5s
~~~
~~~yaml file=vpc.yaml
name: neutron-00000000-0000-0000-0000-000000000001
~~~
~~~console
# cat vpc.yaml; echo 10.0.0.1
name: neutron-00000000-0000-0000-0000-000000000001
10.0.0.1
# grep -c $ID vpc.yaml
1
# cat <<EOF
"$ADDRESS" time=1.5 ms
EOF
"10.0.0.1" time=13.25 ms
~~~
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Names{
		"00000000-0000-0000-0000-000000000001": "22040ed5-0598-4f77-bffd-e7fd4db47e90",
		"10.0.0.1":                             "10.0.0.7",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRunUntil(t *testing.T) {
	t.Parallel()
	if _, err := walk(t, "~~~console until\n# echo x >> log; wc -l < log\n3\n~~~\n"); err != nil {
		t.Error(err)
	}
}

func TestRunTellsTheDifference(t *testing.T) {
	t.Parallel()
	_, err := walk(t, "~~~console\n# printf 'a\\nb\\n'\na\nc\n~~~\n")
	want := "page.md:2: # printf 'a\\nb\\n'\nprinted something else than the page says; the first that does not fit is page.md:4\n" +
		"the page:\n    a\n    c\nprinted:\n    a\n    b\n"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"~~~console\n# echo no; false\n~~~\n": "ended with status 1",
		"~~~console\n# exit 3\n~~~\n":         "the shell ended",
		"~~~console\n# sleep 60\n~~~\n":       "took longer than",
	} {
		_, err := walk(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	const one, two, other = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b", "00000000-0000-0000-0000-00000000000c"
	for _, c := range []struct {
		name, want, got string
		unordered, ok   bool
	}{
		{name: "same", want: "a\nb", got: "a\nb", ok: true},
		{name: "one too many", want: "a", got: "a\nb"},
		{name: "wild lines", want: "a\n...\nd\n...", got: "a\nb\nc\nd", ok: true},
		{name: "wild text", want: "a ... d", got: "a b c d", ok: true},
		{name: "gaps and rules", want: "+--------+\n| a   b |", got: "+-----+\n| a b      |", ok: true},
		{name: "ages", want: "ubuntu 1/1 Running 0 31m", got: "ubuntu   1/1  Running  0  2d3h", ok: true},
		{name: "not an age", want: "ubuntu 1/1 Running 0 31m", got: "ubuntu 0/1 Running 0 31m"},
		{name: "generated name", want: "web-7c9d8b6f5-x2x4z Running", got: "web-66c4df8d9b-bbcd9 Running", ok: true},
		{name: "ping", want: "round-trip min/avg/max = 0.506/1.010/1.513 ms", got: "round-trip min/avg/max = 1/2/3 ms", ok: true},
		{name: "same id twice", want: one + "\n" + one, got: two + "\n" + two, ok: true},
		{name: "another id", want: one + "\n" + one, got: two + "\n" + other},
		{name: "two ids become one", want: one + "\n" + two, got: other + "\n" + other},
		{name: "MAC of either case", want: "00:00:00:7A:2E:93", got: "02:aa:bb:cc:dd:ee", ok: true},
		{name: "order matters", want: "a\nb", got: "b\na"},
		{name: "order does not", want: "a\nb", got: "b\na", unordered: true, ok: true},
		{name: "below the wrong line", want: "a\n  x\nb\n  y", got: "a\n  y\nb\n  x", unordered: true},
		{name: "others allowed", want: "a\n  x\n  ...\n...", got: "b\na\n  y\n  x", unordered: true, ok: true},
		{name: "others not allowed", want: "a\n  x", got: "a\n  y\n  x", unordered: true},
		{
			name: "a sibling that fits by itself but not with the rest", unordered: true, ok: true,
			want: "port " + one + "\nport " + two + " two\nlast " + one,
			got:  "port " + two + "\nport " + one + " two\nlast " + two,
		},
		{
			name: "names found below decide which sibling it is", unordered: true, ok: true,
			want: "sw " + one + "\n  z\nsw " + two + "\n  y",
			got:  "sw " + one + "\n  y\nsw " + two + "\n  z",
		},
	} {
		s := Step{Want: strings.Split(c.want, "\n"), Unordered: c.unordered}
		if _, ok := newMatcher(nil).output(s, strings.Split(c.got, "\n"), Names{}); ok != c.ok {
			t.Errorf("%s: matched %v, want %v", c.name, ok, c.ok)
		}
	}
}
