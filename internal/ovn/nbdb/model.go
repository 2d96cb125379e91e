// Package nbdb models the tables and columns of OVN's northbound database that we
// read or write. It knows the rows, not their use.
//
// The structs are written by hand. The structs that modelgen writes have every column
// of one schema, and the client refuses a server that lacks one of them. The columns
// here are in every northbound schema since 7.0.0 (OVN 23.03). The large sets
// Logical_Switch.ports and Port_Group.ports are left out, because the client would
// copy the whole set at each change of it.
package nbdb

import (
	"github.com/ovn-kubernetes/libovsdb/model"
)

// Database is the name of the database.
const Database = "OVN_Northbound"

// The tables.
const (
	LogicalSwitchTable       = "Logical_Switch"
	LogicalSwitchPortTable   = "Logical_Switch_Port"
	LogicalRouterTable       = "Logical_Router"
	LogicalRouterPortTable   = "Logical_Router_Port"
	LogicalRouterPolicyTable = "Logical_Router_Policy"
	LogicalRouterRouteTable  = "Logical_Router_Static_Route"
	PortGroupTable           = "Port_Group"
)

// LogicalSwitch is a layer 2 domain.
type LogicalSwitch struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	OtherConfig  map[string]string `ovsdb:"other_config"`
	LoadBalancer []string          `ovsdb:"load_balancer"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
}

// LogicalSwitchPort is a port of a switch.
type LogicalSwitchPort struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	Type         string            `ovsdb:"type"`
	Addresses    []string          `ovsdb:"addresses"`
	PortSecurity []string          `ovsdb:"port_security"`
	Options      map[string]string `ovsdb:"options"`
	ParentName   *string           `ovsdb:"parent_name"`
	Tag          *int              `ovsdb:"tag"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
	// Up is written by ovn-northd.
	Up *bool `ovsdb:"up"`
}

// LogicalRouter is a layer 3 domain.
type LogicalRouter struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	Ports        []string          `ovsdb:"ports"`
	LoadBalancer []string          `ovsdb:"load_balancer"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
}

// LogicalRouterPort is a router's interface.
type LogicalRouterPort struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	MAC         string            `ovsdb:"mac"`
	Networks    []string          `ovsdb:"networks"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// LogicalRouterPolicy overrides a router's routes.
type LogicalRouterPolicy struct {
	UUID        string            `ovsdb:"_uuid"`
	Priority    int               `ovsdb:"priority"`
	Match       string            `ovsdb:"match"`
	Action      string            `ovsdb:"action"`
	Nexthops    []string          `ovsdb:"nexthops"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// LogicalRouterRoute is a static route.
type LogicalRouterRoute struct {
	UUID        string            `ovsdb:"_uuid"`
	IPPrefix    string            `ovsdb:"ip_prefix"`
	Nexthop     string            `ovsdb:"nexthop"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// PortGroup is a named set of ports.
type PortGroup struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// Columns returns the columns to monitor, by table: those of the structs. Without
// this list, the client would ask for all columns of the server.
func Columns() map[string][]string {
	return map[string][]string{
		LogicalSwitchTable: {"name", "other_config", "load_balancer", "external_ids"},
		LogicalSwitchPortTable: {
			"name", "type", "addresses", "port_security", "options", "parent_name", "tag", "external_ids", "up",
		},
		LogicalRouterTable:       {"name", "ports", "load_balancer", "external_ids"},
		LogicalRouterPortTable:   {"name", "mac", "networks", "external_ids"},
		LogicalRouterPolicyTable: {"priority", "match", "action", "nexthops", "external_ids"},
		LogicalRouterRouteTable:  {"ip_prefix", "nexthop", "external_ids"},
		PortGroupTable:           {"name", "external_ids"},
	}
}

// Model returns what a client of the database must know: these tables, indexed by
// name and by each of the given keys of external_ids.
func Model(keys ...string) (model.ClientDBModel, error) {
	tables := map[string]model.Model{
		LogicalSwitchTable:       &LogicalSwitch{},
		LogicalSwitchPortTable:   &LogicalSwitchPort{},
		LogicalRouterTable:       &LogicalRouter{},
		LogicalRouterPortTable:   &LogicalRouterPort{},
		LogicalRouterPolicyTable: &LogicalRouterPolicy{},
		LogicalRouterRouteTable:  &LogicalRouterRoute{},
		PortGroupTable:           &PortGroup{},
	}
	m, err := model.NewClientDBModel(Database, tables)
	if err != nil {
		return model.ClientDBModel{}, err
	}
	indexes := map[string][]model.ClientIndex{}
	for table := range tables {
		for _, key := range keys {
			indexes[table] = append(indexes[table], index(model.ColumnKey{Column: "external_ids", Key: key}))
		}
	}
	for _, table := range []string{LogicalSwitchTable, LogicalRouterTable} { // the schema indexes the others by name
		indexes[table] = append(indexes[table], index(model.ColumnKey{Column: "name"}))
	}
	m.SetIndexes(indexes)
	return m, nil
}

func index(c model.ColumnKey) model.ClientIndex {
	return model.ClientIndex{Columns: []model.ColumnKey{c}}
}
