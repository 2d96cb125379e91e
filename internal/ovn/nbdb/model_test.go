package nbdb_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// The monitored columns are those of the structs.
func TestColumns(t *testing.T) {
	m, err := nbdb.Model("key")
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
		if columns := slices.Sorted(slices.Values(nbdb.Columns()[table])); !reflect.DeepEqual(tags, columns) {
			t.Errorf("%s: model %v, columns %v", table, tags, columns)
		}
	}
}

// A copy is equal to its original and shares no memory with it. The client relies on
// both.
func TestClone(t *testing.T) {
	word, yes, n := "word", true, 7
	list, pairs := []string{"x"}, map[string]string{"k": "v"}
	for _, row := range []model.CloneableModel{
		&nbdb.LogicalSwitch{"u", "n", pairs, list, pairs},
		&nbdb.LogicalSwitchPort{"u", "n", "t", list, list, pairs, &word, &n, pairs, &yes},
		&nbdb.LogicalRouter{"u", "n", list, list, pairs},
		&nbdb.LogicalRouterPort{"u", "n", "m", list, pairs},
		&nbdb.LogicalRouterPolicy{"u", 1, "m", "a", list, pairs},
		&nbdb.LogicalRouterRoute{"u", "p", "n", pairs},
		&nbdb.PortGroup{"u", "n", pairs},
	} {
		into := reflect.New(reflect.TypeOf(row).Elem()).Interface()
		row.CloneModelInto(into)
		if diff := cmp.Diff(row, into); diff != "" {
			t.Errorf("%T: %s", row, diff)
		}
		was, is := reflect.ValueOf(row).Elem(), reflect.ValueOf(into).Elem()
		for i := range was.NumField() {
			switch f := was.Field(i); f.Kind() {
			case reflect.Map, reflect.Slice, reflect.Pointer:
				if f.Pointer() == is.Field(i).Pointer() {
					t.Errorf("%T shares %s", row, was.Type().Field(i).Name)
				}
			}
		}
	}
}
