package openstack

import (
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestUnitOf(t *testing.T) {
	t.Parallel()
	for _, u := range []intent.Unit{"pod/ns/a", intent.Unit("pod/" + strings.Repeat("n", 63) + "/" + strings.Repeat("p", 253))} {
		o := Owner{"c1", u}
		for _, text := range append(o.Tags(), o.Description()) {
			if len(text) > maxText {
				t.Errorf("%d bytes: %s", len(text), text)
			}
		}
		if got, ours := UnitOf("c1", append(o.Tags(), "theirs"), ""); got != u || !ours {
			t.Errorf("by its tags it is %q's, %v", got, ours)
		}
		if _, ours := UnitOf("c1", []string{"theirs"}, o.Description()); !ours {
			t.Errorf("by its description it is not ours")
		}
		for _, other := range [][]string{Owner{"c2", u}.Tags(), Owner{"c11", u}.Tags()} {
			if _, ours := UnitOf("c1", other, o.Description()); ours { // the tags count
				t.Errorf("%s is ours", other)
			}
		}
		if _, ours := UnitOf("c1", nil, Owner{"c11", u}.Description()); ours {
			t.Error("by its description another cluster's is ours")
		}
	}
}

func TestReplaceTags(t *testing.T) {
	t.Parallel()
	ours := Owner{"c1", "pod/ns/a"}.Tags()
	got := ReplaceTags([]string{"theirs", TagOwner + "c0", "isthmus-subport"}, ours)
	if want := append(slices.Clone(ours), "theirs"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := ReplaceTags(ours, nil); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	a, b := Shorten(strings.Repeat("x", 300)+"a"), Shorten(strings.Repeat("x", 300)+"b")
	if a == b || len(a) != maxText || Shorten("short") != "short" {
		t.Errorf("%q and %q", a, b)
	}
}
