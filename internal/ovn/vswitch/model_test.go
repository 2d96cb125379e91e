package vswitch_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/ovn-kubernetes/libovsdb/client"

	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
	"github.com/isthmus-cni/isthmus/internal/ovn/vswitch"
)

// A real server accepts the model, and its columns fill all fields of the structs.
func TestModel(t *testing.T) {
	m, err := vswitch.Model()
	if err != nil {
		t.Fatal(err)
	}
	for table, row := range m.Types() {
		var tags []string
		for field := range row.Elem().Fields() {
			if tag := field.Tag.Get("ovsdb"); tag != "_uuid" {
				tags = append(tags, tag)
			}
		}
		slices.Sort(tags)
		if columns := slices.Sorted(slices.Values(vswitch.Columns()[table])); !reflect.DeepEqual(tags, columns) {
			t.Errorf("%s: model %v, columns %v", table, tags, columns)
		}
	}
	c, err := client.NewOVSDBClient(m, client.WithEndpoint(ovntest.New(t, ovntest.VSwitch).Address))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	monitor := c.NewMonitor()
	for table, columns := range vswitch.Columns() {
		monitor.Tables = append(monitor.Tables, client.TableMonitor{Table: table, Fields: columns})
	}
	if _, err := c.Monitor(t.Context(), monitor); err != nil {
		t.Error(err)
	}
}
