package controller

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

func TestAGroupMadeAnewByTheSameNameIsFound(t *testing.T) {
	fake := neutrontest.New(t)
	old := fake.Add("security-groups", map[string]any{"name": "vms"})
	none := 0
	s := settings.Settings{Cluster: "c", Neutron: &settings.Neutron{Cloud: neutrontest.Name, CloudsFile: fake.CloudsFile, Pool: settings.Pool{Min: &none}}}
	of := &cluster{settings: s, log: slog.New(slog.DiscardHandler), calls: newCalls(prometheus.NewRegistry())}
	c := of.newCloud(t.Context(), nil)
	defer c.Close()
	look := func(want string) {
		t.Helper()
		if _, err := c.look(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if id, err := c.groupID(t.Context(), "vms"); err != nil || id != want {
			t.Errorf("group vms is %q (%v), want %q", id, err, want)
		}
	}
	look(old)
	fake.Remove("security-groups", old) // or gave it another name
	look(old)
	fresh := fake.Add("security-groups", map[string]any{"name": "vms"})
	look(fresh)
	fake.Add("security-groups", map[string]any{"name": "vms"}) // which one is meant now?
	look(fresh)
	ids, err := c.groupIDs(t.Context(), []string{"vms", "others", old})
	if err != nil || len(ids) != 2 || ids["vms"] != fresh || ids[old] != old {
		t.Errorf("groups are %v (%v)", ids, err)
	}
}
