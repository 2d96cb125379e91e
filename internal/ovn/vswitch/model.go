// Package vswitch models the few tables and columns of a node's Open_vSwitch
// database that the agent uses. It knows the rows, not their use.
//
// The structs are written by hand, for the reason in package nbdb. These columns are
// in every Open vSwitch since 2.17.
package vswitch

import "github.com/ovn-kubernetes/libovsdb/model"

// Database is the name of the database.
const Database = "Open_vSwitch"

// The tables.
const (
	OpenVSwitchTable = "Open_vSwitch"
	BridgeTable      = "Bridge"
	PortTable        = "Port"
	InterfaceTable   = "Interface"
)

// OpenVSwitch is the one row of table Open_vSwitch.
type OpenVSwitch struct {
	UUID        string            `ovsdb:"_uuid"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// Bridge is a row of table Bridge, without its ports: the client would copy the whole
// set of ports at each change of it.
type Bridge struct {
	UUID         string `ovsdb:"_uuid"`
	Name         string `ovsdb:"name"`
	DatapathType string `ovsdb:"datapath_type"`
}

// Interface is a row of table Interface.
type Interface struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
	// OFPort is -1 if the switch could not make the interface; Error says why.
	OFPort *int    `ovsdb:"ofport"`
	Error  *string `ovsdb:"error"`
}

// Model returns what a client of the database must know: these tables, indexed
// by UUID and, by the schema, by name.
func Model() (model.ClientDBModel, error) {
	return model.NewClientDBModel(Database, map[string]model.Model{
		OpenVSwitchTable: &OpenVSwitch{},
		BridgeTable:      &Bridge{},
		InterfaceTable:   &Interface{},
	})
}

// Columns returns the columns to monitor, by table: those of the structs. Without
// this list, the client would ask for all columns of the server.
func Columns() map[string][]string {
	return map[string][]string{
		OpenVSwitchTable: {"external_ids"},
		BridgeTable:      {"name", "datapath_type"},
		InterfaceTable:   {"name", "external_ids", "ofport", "error"},
	}
}
