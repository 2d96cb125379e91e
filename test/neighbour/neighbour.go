// Package neighbour checks that Isthmus did not change rows of others in OVN's northbound
// database. It reads the whole database and returns the rows that Isthmus does not own as
// text that can be compared. It uses no code of the product.
package neighbour

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// OwnerKey is the key in external_ids of the rows that Isthmus owns.
const OwnerKey = "isthmus-owner"

// Row is one row. Its columns have the values of OVSDB's JSON.
type Row struct {
	Table, UUID string
	Columns     map[string]any
}

// Owner returns the value of OwnerKey, or "" for a row of others.
func (r Row) Owner() string { return r.external(OwnerKey) }

// Name returns the table, unit, key and name of one of our rows.
func (r Row) Name() string {
	return fmt.Sprintf("%s %s %s %v", r.Table, r.external("isthmus-unit"), r.external("isthmus-key"), orDash(r.Columns["name"]))
}

func orDash(name any) any {
	if name == nil {
		return "-"
	}
	return name
}

func (r Row) external(key string) string {
	pair, ok := r.Columns["external_ids"].([]any)
	if !ok || len(pair) != 2 {
		return ""
	}
	entries, _ := pair[1].([]any)
	for _, e := range entries {
		if kv, ok := e.([]any); ok && len(kv) == 2 && kv[0] == key {
			value, _ := kv[1].(string)
			return value
		}
	}
	return ""
}

// Read reads the whole northbound database at an address such as tcp:172.31.0.1:6641.
func Read(ctx context.Context, address string) ([]Row, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "ovsdb-client", "--format=json", "--timeout=20", "dump", address, "OVN_Northbound")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ovsdb-client dump %s: %w: %s", address, err, stderr.String())
	}
	return Parse(out)
}

// Parse reads the output of "ovsdb-client --format=json dump", which has one line per table.
func Parse(text []byte) ([]Row, error) {
	var rows []Row
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var t struct {
			Caption  string
			Headings []string
			Data     [][]any
		}
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return nil, fmt.Errorf("dump: %w", err)
		}
		for _, cells := range t.Data {
			r := Row{Table: strings.TrimSuffix(t.Caption, " table"), Columns: map[string]any{}}
			for i, heading := range t.Headings {
				r.Columns[heading] = cells[i]
			}
			r.UUID, _ = atom(r.Columns["_uuid"])
			delete(r.Columns, "_uuid")
			rows = append(rows, r)
		}
	}
	return rows, lines.Err()
}

// atom returns the UUID in ["uuid", "..."], or false for any other value.
func atom(v any) (string, bool) {
	pair, ok := v.([]any)
	if !ok || len(pair) != 2 || pair[0] != "uuid" {
		return "", false
	}
	id, ok := pair[1].(string)
	return id, ok
}

// references are the columns in which rows of others may refer to ours.
var references = map[string][]string{
	"Logical_Router": {"ports", "load_balancer"},
	"Logical_Switch": {"load_balancer"},
	"Port_Group":     {"ports"},
}

// counters are the columns that northd and ovn-controller write after each change, whoever
// made it (ovn-nb(5)). NB_Global.nb_cfg counts Neutron's liveness checks of its agents. Watch
// reports increases by others.
var counters = map[string][]string{
	"NB_Global":           {"nb_cfg", "nb_cfg_timestamp", "sb_cfg", "sb_cfg_timestamp", "hv_cfg", "hv_cfg_timestamp"},
	"Logical_Switch_Port": {"up", "dynamic_addresses"},
}

// restarted are the columns that refer to rows of table Connection, which the lab replaces at
// each start.
var restarted = map[string][]string{"NB_Global": {"connections"}}

// livenessCheck is the key of NB_Global.external_ids with the time of Neutron's last liveness
// check. All other keys there are compared.
const livenessCheck = "neutron:liveness_check_at"

// listening is the table of the addresses on which the database server listens. It belongs to
// the operator, and the lab replaces its rows at each start.
const listening = "Connection"

// revision matches Neutron's count of its writes to a row. Neutron also counts writes that
// change nothing. So the number is not compared, but the written values are.
var revision = regexp.MustCompile(`\["neutron:revision_number","\d+"\]`)

// routerPortOptions are options of a router's port with the values that Neutron writes when
// it changes the port. It removes them when it next writes the port's router. Which of the
// two happens last is chance. Both values are OVN's defaults: ovn-nb(5).
var routerPortOptions = map[string]string{"mcast_flood_reports": "true", "requested-chassis": ""}

// Foreign returns all rows that Isthmus does not own, one line per column, sorted. It leaves
// out counters and keys, which change without us, and references to our rows in the columns
// that may have them.
func Foreign(rows []Row) []string {
	ours := map[string]bool{}
	for _, r := range rows {
		if r.Owner() != "" {
			ours[r.UUID] = true
		}
	}
	var lines []string
	for _, r := range rows {
		if r.Owner() != "" || r.Table == listening {
			continue
		}
		for _, column := range slices.Sorted(maps.Keys(r.Columns)) {
			if slices.Contains(counters[r.Table], column) || slices.Contains(restarted[r.Table], column) {
				continue
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %s", r.Table, r.UUID, column, canonical(compared(r, column, ours))))
		}
	}
	slices.Sort(lines)
	return lines
}

// compared returns a column's value without the parts that may change.
func compared(r Row, column string, ours map[string]bool) any {
	value := r.Columns[column]
	switch {
	case slices.Contains(references[r.Table], column):
		return withoutReferences(value, ours)
	case r.Table == "NB_Global" && column == "external_ids":
		return withoutEntries(value, func(key, _ any) bool { return key == livenessCheck })
	case r.Columns["type"] == "router" && column == "options":
		return withoutEntries(value, func(key, value any) bool {
			neutral, is := routerPortOptions[key.(string)]
			return is && value == neutral
		})
	}
	return value
}

// withoutEntries returns a map without the entries for which drop returns true.
func withoutEntries(value any, drop func(key, value any) bool) any {
	pair := value.([]any)
	kept := slices.DeleteFunc(slices.Clone(pair[1].([]any)), func(e any) bool {
		kv := e.([]any)
		return drop(kv[0], kv[1])
	})
	return []any{"map", kept}
}

// withoutReferences returns a set of UUIDs without those of our rows.
func withoutReferences(set any, ours map[string]bool) any {
	if id, ok := atom(set); ok {
		set = []any{"set", []any{[]any{"uuid", id}}} // OVSDB writes a set with one element as the element
	}
	pair := set.([]any)
	var kept []any
	for _, v := range pair[1].([]any) {
		if id, _ := atom(v); !ours[id] {
			kept = append(kept, v)
		}
	}
	if len(kept) == 1 {
		return kept[0]
	}
	return []any{"set", kept}
}

// canonical returns a value as text, with sets and maps sorted.
func canonical(v any) string {
	pair, ok := v.([]any)
	if ok && len(pair) == 2 && (pair[0] == "set" || pair[0] == "map") {
		var parts []string
		elements, _ := pair[1].([]any)
		for _, e := range elements {
			parts = append(parts, canonical(e))
		}
		slices.Sort(parts)
		return fmt.Sprintf("%s[%s]", pair[0], strings.Join(parts, " "))
	}
	text, _ := json.Marshal(v) // cannot fail: v was decoded from JSON
	return revision.ReplaceAllString(string(text), `["neutron:revision_number","..."]`)
}

// Ours returns the names of all our rows, sorted.
func Ours(rows []Row) []string {
	var names []string
	for _, r := range rows {
		if r.Owner() != "" {
			names = append(names, r.Name())
		}
	}
	slices.Sort(names)
	return names
}
