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
	if err := c.findGroups(t.Context(), []string{"vms"}); err != nil {
		t.Fatal(err)
	}
	look := func(want string, known bool) {
		t.Helper()
		if _, err := c.look(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if id, is := c.group("vms"); is != known || id != want {
			t.Errorf("group vms is %q, %v; want %q, %v", id, is, want, known)
		}
	}
	look(old, true)
	fake.Remove("security-groups", old)
	look("", false)
	if err := c.findGroups(t.Context(), []string{"vms"}); err == nil {
		t.Error("what is not there was found")
	}
	fresh := fake.Add("security-groups", map[string]any{"name": "vms"})
	if err := c.findGroups(t.Context(), []string{"vms"}); err != nil {
		t.Fatal(err)
	}
	look(fresh, true)
}
