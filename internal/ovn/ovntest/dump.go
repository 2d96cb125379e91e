package ovntest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Dump returns the content of the northbound database as text, one row on each line,
// sorted. Names replace UUIDs, so that two databases with the same content have the
// same text.
func (s *Server) Dump() string { return s.dump(table.names) }

// DumpExact returns the same text with the UUIDs.
func (s *Server) DumpExact() string { return s.dump(func(table, map[string]string) {}) }

// DumpOthers returns the same text as DumpExact, but without the rows that have a key
// in external_ids and without references to them.
func (s *Server) DumpOthers(key string) string {
	return s.dump(func(t table, names map[string]string) { t.hide(key, names) })
}

type table struct {
	Caption  string   `json:"caption"`
	Headings []string `json:"headings"`
	Data     [][]any  `json:"data"`
}

func (s *Server) dump(name func(table, map[string]string)) string {
	s.t.Helper()
	out := Run(s.t, "ovsdb-client", "--format=json", "dump", s.Address, "OVN_Northbound")
	var tables []table
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var t table
		if err := d.Decode(&t); err != nil {
			s.t.Fatal(err)
		}
		tables = append(tables, t)
	}
	names := map[string]string{}
	for _, t := range tables {
		name(t, names)
	}
	var lines []string
	for _, t := range tables {
		lines = append(lines, t.lines(names)...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// names adds a name for each row, by UUID: the row's name, else its external_ids.
func (t table) names(into map[string]string) {
	for _, row := range t.Data {
		uuid, name := "", ""
		for i, h := range t.Headings {
			switch h {
			case "_uuid":
				uuid = row[i].([]any)[1].(string)
			case "name":
				name = fmt.Sprint(row[i])
			case "external_ids":
				if text := fmt.Sprint(row[i]); name == "" {
					name = text
				}
			}
		}
		into[uuid] = t.Caption + ":" + name
	}
}

// hide gives the rows with a key an empty name, so that the dump leaves them out.
func (t table) hide(key string, names map[string]string) {
	ids, uuid := slices.Index(t.Headings, "external_ids"), slices.Index(t.Headings, "_uuid")
	for _, row := range t.Data {
		if ids >= 0 && strings.Contains(fmt.Sprint(row[ids]), key) {
			names[row[uuid].([]any)[1].(string)] = ""
		}
	}
}

func (t table) lines(names map[string]string) []string {
	var lines []string
	uuid := slices.Index(t.Headings, "_uuid")
	for _, row := range t.Data {
		if value(row[uuid], names) == "" {
			continue
		}
		var line strings.Builder
		line.WriteString(strings.TrimSuffix(t.Caption, " table"))
		for i, h := range t.Headings {
			if text := value(row[i], names); text != "" {
				line.WriteString(" " + h + "=" + text)
			}
		}
		lines = append(lines, line.String())
	}
	return lines
}

// value returns a value in OVSDB's notation as text; empty for an empty value.
func value(v any, names map[string]string) string {
	tagged, ok := v.([]any)
	if !ok {
		if v == "" {
			return ""
		}
		return fmt.Sprintf("%q", fmt.Sprint(v))
	}
	var parts []string
	switch tagged[0] {
	case "uuid":
		if name, known := names[tagged[1].(string)]; known {
			return name
		}
		return tagged[1].(string)
	case "set":
		for _, e := range tagged[1].([]any) {
			if text := value(e, names); text != "" {
				parts = append(parts, text)
			}
		}
	case "map":
		for _, e := range tagged[1].([]any) {
			pair := e.([]any)
			parts = append(parts, value(pair[0], names)+"="+value(pair[1], names))
		}
	}
	if len(parts) == 0 || tagged[0] == "set" && len(parts) == 1 {
		return strings.Join(parts, "")
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, " ") + "}"
}
