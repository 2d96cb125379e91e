// Package vswitch models the few tables and columns of a node's Open_vSwitch
// database that the agent uses. It knows the rows, not what to do with them.
//
// The structs are written by hand: modelgen's have every column of the schema
// that they were generated from, and the client refuses a server without one
// of them. These columns are in every Open vSwitch since 2.17.
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
	Bridges     []string          `ovsdb:"bridges"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// Bridge is a row of table Bridge.
type Bridge struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	DatapathType string            `ovsdb:"datapath_type"`
	Ports        []string          `ovsdb:"ports"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
}

// Port is a row of table Port.
type Port struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Interfaces  []string          `ovsdb:"interfaces"`
	Tag         *int              `ovsdb:"tag"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// Interface is a row of table Interface.
type Interface struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Type        string            `ovsdb:"type"`
	Options     map[string]string `ovsdb:"options"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
	// MAC is asked for, MACInUse is what the interface has.
	MAC      *string `ovsdb:"mac"`
	MACInUse *string `ovsdb:"mac_in_use"`
	// MTURequest is asked for, MTU is what the interface has.
	MTURequest *int `ovsdb:"mtu_request"`
	MTU        *int `ovsdb:"mtu"`
	// OFPort is -1 when the interface could not be made; Error says why.
	OFPort     *int    `ovsdb:"ofport"`
	Error      *string `ovsdb:"error"`
	AdminState *string `ovsdb:"admin_state"`
	LinkState  *string `ovsdb:"link_state"`
}

// Model is what a client of the database needs to know: these tables, found
// by name and by the interface's iface-id as well as by UUID.
func Model() (model.ClientDBModel, error) {
	m, err := model.NewClientDBModel(Database, map[string]model.Model{
		OpenVSwitchTable: &OpenVSwitch{},
		BridgeTable:      &Bridge{},
		PortTable:        &Port{},
		InterfaceTable:   &Interface{},
	})
	if err != nil {
		return model.ClientDBModel{}, err
	}
	m.SetIndexes(map[string][]model.ClientIndex{
		InterfaceTable: {{Columns: []model.ColumnKey{{Column: "external_ids", Key: "iface-id"}}}},
	})
	return m, nil
}

// Columns are the columns of each table that a monitor must ask for: without
// a list the client asks for all that the server has.
func Columns() map[string][]string {
	return map[string][]string{
		OpenVSwitchTable: {"bridges", "external_ids"},
		BridgeTable:      {"name", "datapath_type", "ports", "external_ids"},
		PortTable:        {"name", "interfaces", "tag", "external_ids"},
		InterfaceTable: {
			"name", "type", "options", "external_ids", "mac", "mac_in_use", "mtu_request", "mtu",
			"ofport", "error", "admin_state", "link_state",
		},
	}
}
