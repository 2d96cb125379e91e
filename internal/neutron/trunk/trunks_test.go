package trunk

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// cloud is a fake Neutron with one trunk, on port "vm".
type cloud struct {
	trunks []Trunk
	// taken has VLAN ids that another client takes before the next call.
	taken []int
	calls []string
}

func (c *cloud) Trunks(_ context.Context, parent string) ([]Trunk, error) {
	c.calls = append(c.calls, "list "+parent)
	return c.trunks, nil
}

func (c *cloud) AddSubports(_ context.Context, trunk string, ports []Subport) error {
	c.calls = append(c.calls, "add")
	for _, vlan := range c.taken {
		c.trunks[0].Subports = append(c.trunks[0].Subports, Subport{Port: "theirs", VLAN: vlan})
	}
	c.taken = nil
	for _, p := range ports {
		for _, s := range c.trunks[0].Subports {
			if s.VLAN == p.VLAN {
				return VLANTaken{errors.New("taken on " + trunk)}
			}
		}
	}
	c.trunks[0].Subports = append(c.trunks[0].Subports, ports...)
	return nil
}

func (c *cloud) RemoveSubports(_ context.Context, _ string, ports []Subport) error {
	c.calls = append(c.calls, "remove")
	attached := Attachments(c.trunks)
	for _, p := range ports {
		if _, is := attached[p.Port]; !is {
			return NotAttached{errors.New("not all are attached")}
		}
	}
	return nil
}

func unlimited(context.Context) (func(), error) { return func() {}, nil }

// If another client takes the VLAN id, the trunk is read again and another id is tried.
func TestAttachTriesAnotherVLAN(t *testing.T) {
	t.Parallel()
	c := &cloud{trunks: []Trunk{{ID: "t", Parent: "vm"}}, taken: []int{1, 2}}
	all := New(unlimited)
	got, err := all.Attach(t.Context(), c, "vm", []Subport{{Port: "a"}})
	if err != nil || len(got) != 1 || got[0].VLAN != 3 {
		t.Errorf("%+v (%v)", got, err)
	}
	if diff := cmp.Diff([]string{"list vm", "add", "list vm", "add"}, c.calls); diff != "" {
		t.Error(diff)
	}
	if at, found := all.Find("a"); !found || at != (Attachment{"vm", 3}) {
		t.Errorf("it is on %+v", at)
	}
}

func TestDetachMissingSubport(t *testing.T) {
	t.Parallel()
	c := &cloud{trunks: []Trunk{{ID: "t", Parent: "vm", Subports: []Subport{{Port: "a", VLAN: 1}}}}}
	all := New(unlimited)
	if err := all.Detach(t.Context(), c, "vm", []Subport{{Port: "a"}, {Port: "b"}}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"list vm", "remove", "list vm", "remove"}, c.calls); diff != "" {
		t.Error(diff)
	}
	if err := New(unlimited).Detach(t.Context(), &cloud{}, "vm", []Subport{{Port: "a"}}); err != nil {
		t.Errorf("there is no trunk, so nothing is attached: %v", err)
	}
}

// Changes during the read of the trunks take precedence over the result of the read.
func TestSync(t *testing.T) {
	t.Parallel()
	all := New(unlimited)
	all.Learn([]Trunk{{ID: "t", Parent: "vm", Subports: []Subport{{Port: "new", VLAN: 5}, {Port: "old", VLAN: 6}}}, {ID: "u", Parent: "gone"}})
	all.Sync([]Trunk{{ID: "t", Parent: "vm", Subports: []Subport{{Port: "detached", VLAN: 7}}}}, func(port string) bool { return port != "old" })
	for port, attached := range map[string]bool{"new": true, "old": false, "detached": false} {
		if _, found := all.Find(port); found != attached {
			t.Errorf("port %s: attached %v", port, found)
		}
	}
	var wait intent.Wait
	if err := all.Ensure(t.Context(), &cloud{}, "gone"); !errors.As(err, &wait) || wait.Reason != NoTrunk {
		t.Errorf("a trunk that is gone: %v", err)
	}
}
