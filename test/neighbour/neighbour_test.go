package neighbour

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dump is a router of Neutron's before and after we join a switch to it.
func dump(ports, more string) string {
	return `{"caption":"Logical_Router table","headings":["_uuid","external_ids","name","nat","ports"],"data":[` +
		`[["uuid","r1"],["map",[["neutron:router_name","router0"]]],"neutron-1",["set",[]],` + ports + `]]}
{"caption":"Logical_Router_Port table","headings":["_uuid","external_ids","name"],"data":[` +
		`[["uuid","p1"],["map",[["b","2"],["a","1"]]],"lrp-1"]` + more + `]}
`
}

const joined = `,[["uuid","p2"],["map",[["isthmus-key","router"],["isthmus-owner","lab"],["isthmus-unit","subnet/net2"]]],"lrp-x-net2"]`

func lines(t *testing.T, text string) (foreign, ours []string) {
	t.Helper()
	rows, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Foreign(rows), Ours(rows)
}

func TestForeignLeavesOutOurReferences(t *testing.T) {
	t.Parallel()
	before, none := lines(t, dump(`["uuid","p1"]`, ""))
	after, ours := lines(t, dump(`["set",[["uuid","p2"],["uuid","p1"]]]`, joined))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Logical_Router_Port subnet/net2 router lrp-x-net2"}, ours); diff != "" || len(none) > 0 {
		t.Errorf("ours before: %q; -want +after:\n%s", none, diff)
	}
	want := []string{
		`Logical_Router r1 external_ids map[["neutron:router_name","router0"]]`,
		`Logical_Router r1 name "neutron-1"`,
		`Logical_Router r1 nat set[]`,
		`Logical_Router r1 ports ["uuid","p1"]`,
		`Logical_Router_Port p1 external_ids map[["a","1"] ["b","2"]]`,
		`Logical_Router_Port p1 name "lrp-1"`,
	}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestForeignSeesWhatIsLeftBehind(t *testing.T) {
	t.Parallel()
	before, _ := lines(t, dump(`["uuid","p1"]`, ""))
	after, _ := lines(t, dump(`["set",[["uuid","p2"],["uuid","p1"]]]`, `,[["uuid","p2"],["map",[]],"lrp-x-net2"]`))
	if cmp.Diff(before, after) == "" {
		t.Error("a row without our key is not seen")
	}
}

func TestNeutronWritesARoutersPortInTwoWays(t *testing.T) {
	t.Parallel()
	port := func(kind, options string) string {
		return `{"caption":"Logical_Switch_Port table","headings":["_uuid","options","type"],"data":[[["uuid","p1"],["map",[` + options + `]],"` + kind + `"]]}`
	}
	const changed, routed = `["mcast_flood_reports","true"],["requested-chassis",""],["router-port","lrp-1"]`, `["router-port","lrp-1"]`
	before, _ := lines(t, port("router", changed))
	after, _ := lines(t, port("router", routed))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("-changed +with its router:\n%s", diff)
	}
	for what, other := range map[string]string{
		"bound to a host":            port("router", `["requested-chassis","node2"],["router-port","lrp-1"]`),
		"led to another router":      port("router", `["router-port","lrp-2"]`),
		"that is none of a router's": port("", changed),
	} {
		if seen, _ := lines(t, other); cmp.Diff(after, seen) == "" {
			t.Errorf("a port %s is not seen", what)
		}
	}
}
