package cloud

import (
	"log/slog"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

func TestRecreatedGroupIsFoundByName(t *testing.T) {
	fake := neutrontest.New(t)
	old := fake.Add("security-groups", map[string]any{"name": "vms"})
	none := 0
	c := New(t.Context(), Options{
		Owner: "c", Log: slog.New(slog.DiscardHandler), Count: func(string, string, bool) {},
		Settings: settings.Neutron{Cloud: neutrontest.Name, CloudsFile: fake.CloudsFile, Pool: settings.Pool{Min: &none}},
	})
	defer c.Close()
	read := func(want string) {
		t.Helper()
		if _, err := c.Read(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if id, err := c.groups.id(t.Context(), "vms"); err != nil || id != want {
			t.Errorf("group vms is %q (%v), want %q", id, err, want)
		}
	}
	read(old)
	fake.Remove("security-groups", old) // or renamed it
	read(old)
	fresh := fake.Add("security-groups", map[string]any{"name": "vms"})
	read(fresh)
	fake.Add("security-groups", map[string]any{"name": "vms"}) // two groups of the same name
	read(fresh)
	ids, err := c.GroupIDs(t.Context(), []string{"vms", "others", old})
	if err != nil || len(ids) != 2 || ids["vms"] != fresh || ids[old] != old {
		t.Errorf("groups are %v (%v)", ids, err)
	}
}

// The pool of pods that no NetworkPolicy selects is always filled.
func TestStandardSet(t *testing.T) {
	t.Parallel()
	c := &Cloud{groups: groups{ids: map[string]string{"web": "0-id-of-web"}}}
	if !c.isStandardSet("node1", []string{"k8s-pods"}) || c.isStandardSet("node1", []string{"k8s-pods", "peer/x"}) {
		t.Error("without settings a pod is in k8s-pods alone")
	}
	c.settings.SecurityGroups = []string{"web"}
	if !c.isStandardSet("node1", []string{"0-id-of-web"}) {
		t.Error("nodes have groups where they are in Neutron only")
	}
	c.settings.Default = true
	if !c.isStandardSet("node1", []string{"0-id-of-web", "node/node1"}) || c.isStandardSet("node2", []string{"0-id-of-web", "node/node1"}) {
		t.Error("the groups of the settings stand in their place")
	}
}
