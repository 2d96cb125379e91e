// Package neighbour knows how to tell whether we left other people's rows in
// OVN's northbound database alone: it reads the whole database and writes down
// what is not ours as text that can be compared. It uses nothing of the product.
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

// OwnerKey in external_ids makes a row ours.
const OwnerKey = "isthmus-owner"

// Row is one row, its columns as OVSDB's JSON has them.
type Row struct {
	Table, UUID string
	Columns     map[string]any
}

// Owner is who the row belongs to by our key; empty for somebody else's.
func (r Row) Owner() string { return r.external(OwnerKey) }

// Name says which of its unit's rows it is, if it is ours.
func (r Row) Name() string {
	return fmt.Sprintf("%s %s %s %v", r.Table, r.external("isthmus-unit"), r.external("isthmus-key"), or(r.Columns["name"]))
}

func or(name any) any {
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

// Read reads all of the northbound database at an address such as tcp:172.31.0.1:6641.
func Read(ctx context.Context, address string) ([]Row, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "ovsdb-client", "--format=json", "--timeout=20", "dump", address, "OVN_Northbound")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ovsdb-client dump %s: %w: %s", address, err, said.String())
	}
	return Parse(out)
}

// Parse reads what "ovsdb-client --format=json dump" prints: one line a table.
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

// atom is the UUID in ["uuid", "..."].
func atom(v any) (string, bool) {
	pair, ok := v.([]any)
	if !ok || len(pair) != 2 || pair[0] != "uuid" {
		return "", false
	}
	id, ok := pair[1].(string)
	return id, ok
}

// references are the columns of others' rows that may refer to rows of ours.
var references = map[string][]string{
	"Logical_Router": {"ports", "load_balancer"},
	"Logical_Switch": {"load_balancer"},
	"Port_Group":     {"ports"},
}

// counters are the columns that change by themselves: northd and ovn-controller write
// them after each change, whoever made it (ovn-nb(5)). NB_Global.nb_cfg counts the checks
// by which Neutron tells whether its agents live; Watch tells who raised it.
var counters = map[string][]string{
	"NB_Global":           {"nb_cfg", "nb_cfg_timestamp", "sb_cfg", "sb_cfg_timestamp", "hv_cfg", "hv_cfg_timestamp"},
	"Logical_Switch_Port": {"up", "dynamic_addresses"},
}

// restarted are the columns that refer to a row of table Connection, which the lab
// writes anew at each start.
var restarted = map[string][]string{"NB_Global": {"connections"}}

// livenessCheck is the key of NB_Global.external_ids where Neutron writes the time of
// each liveness check. All other keys there are compared.
const livenessCheck = "neutron:liveness_check_at"

// listening is the table of the addresses that the database server listens at. It is the
// operator's, and the lab writes it anew at each start.
const listening = "Connection"

// revision is Neutron's count of its own writes to a row. Neutron also counts writes that
// change nothing, so the number is not compared, but what was written is.
var revision = regexp.MustCompile(`\["neutron:revision_number","\d+"\]`)

// routerPortOptions are the options of a router's port that Neutron writes when it
// changes the port, and removes when it next writes the port's router. Which of the two
// comes last is chance. Both values are what OVN does without the option: ovn-nb(5).
var routerPortOptions = map[string]string{"mcast_flood_reports": "true", "requested-chassis": ""}

// Foreign writes down all rows that are not ours, one line for each column, sorted. It
// leaves out what changes without us: counters, references to rows of ours in the columns
// that may have them, and the keys that Neutron rewrites.
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

// compared is a column's value without what may change in it.
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

// withoutEntries is a map without the entries that drop selects.
func withoutEntries(value any, drop func(key, value any) bool) any {
	pair := value.([]any)
	kept := slices.DeleteFunc(slices.Clone(pair[1].([]any)), func(e any) bool {
		kv := e.([]any)
		return drop(kv[0], kv[1])
	})
	return []any{"map", kept}
}

// withoutReferences is a set of UUIDs without those of rows of ours.
func withoutReferences(set any, ours map[string]bool) any {
	if id, ok := atom(set); ok {
		set = []any{"set", []any{[]any{"uuid", id}}} // a set of one is written without the set
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

// canonical writes sets and maps in one order.
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
	text, _ := json.Marshal(v) // it came from JSON
	return revision.ReplaceAllString(string(text), `["neutron:revision_number","..."]`)
}

// Ours names all rows that bear our key, sorted.
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
