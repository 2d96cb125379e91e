package neighbour

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dump returns the dump of a Neutron router and its ports. more is appended to the ports'
// rows.
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

// global returns a dump of NB_Global.
func global(nbCfg, externalIDs, options string) string {
	return `{"caption":"NB_Global table","headings":["_uuid","connections","external_ids","nb_cfg","options"],"data":[[["uuid","g1"],["set",[]],["map",[` +
		externalIDs + `]],` + nbCfg + `,["map",[` + options + `]]]]}`
}

func TestNBGlobalIsCompared(t *testing.T) {
	t.Parallel()
	before, _ := lines(t, global("3", `["neutron:liveness_check_at","10:00"],["other","1"]`, `["mac_prefix","0a:00:00"]`))
	checked, _ := lines(t, global("4", `["neutron:liveness_check_at","10:01"],["other","1"]`, `["mac_prefix","0a:00:00"]`))
	if diff := cmp.Diff(before, checked); diff != "" {
		t.Errorf("Neutron's liveness check is seen as a change, -before +after:\n%s", diff)
	}
	for what, other := range map[string]string{
		"a key in external_ids that changed": global("3", `["neutron:liveness_check_at","10:00"],["other","2"]`, `["mac_prefix","0a:00:00"]`),
		"a key in external_ids that is new":  global("3", `["isthmus","1"],["neutron:liveness_check_at","10:00"],["other","1"]`, `["mac_prefix","0a:00:00"]`),
		"an option that changed":             global("3", `["neutron:liveness_check_at","10:00"],["other","1"]`, `["mac_prefix","0b:00:00"]`),
	} {
		if seen, _ := lines(t, other); cmp.Diff(before, seen) == "" {
			t.Errorf("%s is not seen", what)
		}
	}
}

// A change of any cell of Neutron's rows must be seen.
func TestForeignSeesEachColumn(t *testing.T) {
	t.Parallel()
	text := dump(`["uuid","p1"]`, "")
	before, _ := lines(t, text)
	for _, change := range [][2]string{
		{"router0", "router1"},
		{`"neutron-1"`, `"neutron-2"`},
		{`["set",[]]`, `["uuid","n1"]`},
		{`["uuid","p1"]]`, `["set",[]]]`},
		{`"lrp-1"`, `"lrp-2"`},
		{`["b","2"]`, `["b","3"]`},
		{`["uuid","r1"]`, `["uuid","r2"]`},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatalf("the dump has no %s", change[0])
		}
		if after, _ := lines(t, changed); cmp.Diff(before, after) == "" {
			t.Errorf("%s in place of %s is not seen", change[1], change[0])
		}
	}
}

func TestRaisedTellsWhoDidNotCheckLiveness(t *testing.T) {
	t.Parallel()
	// The output of ovsdb-client: the first row, a liveness check of Neutron, "ovn-nbctl --wait=sb sync", another key.
	const printed = `{"data":[["g1","initial",3,["map",[["neutron:liveness_check_at","10:00"]]]]],"headings":["row","action","nb_cfg","external_ids"]}
{"data":[["g1","old",3,["map",[["neutron:liveness_check_at","10:00"]]]],["","new",4,["map",[["neutron:liveness_check_at","10:01"]]]]],"headings":["row","action","nb_cfg","external_ids"]}
{"data":[["g1","old",4,null],["","new",5,["map",[["neutron:liveness_check_at","10:01"]]]]],"headings":["row","action","nb_cfg","external_ids"]}
{"data":[["g1","old",null,["map",[["neutron:liveness_check_at","10:01"]]]],["","new",5,["map",[["neutron:liveness_check_at","10:01"],["k","v"]]]]],"headings":["row","action","nb_cfg","external_ids"]}
`
	got, seen, err := nbCfgChanges(strings.NewReader(printed))
	if err != nil || !seen {
		t.Fatalf("seen %v, %v", seen, err)
	}
	if diff := cmp.Diff([]string{"nb_cfg went from 4 to 5 without a liveness check of Neutron"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, seen, _ := nbCfgChanges(strings.NewReader("")); seen {
		t.Error("a row is seen where there is none")
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
