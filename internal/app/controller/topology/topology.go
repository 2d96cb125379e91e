// Package topology is where the nodes are in the network: their Vpc and Subnet,
// routers and the nodes' own ports as OVN has them, and the OpenStack projects of
// namespaces. It decides nothing.
package topology

import (
	"fmt"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/ovn"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Topology is where the nodes are in the network, and what OVN says of routers
// and of the nodes' own ports.
type Topology struct {
	Settings settings.Settings
	OVN      *ovn.Fabric
	// Cloud is nil where there is no Neutron.
	Cloud *cloud.Cloud
}

// NodeVpc is the Vpc that the nodes are in. Before its router was found it has a
// name that no Vpc has.
func (t Topology) NodeVpc() string {
	if t.Settings.Overlay() {
		return v1.DefaultVpc
	}
	if t.Cloud != nil {
		if id, found := t.Cloud.Router(); found {
			return "neutron-" + id
		}
	}
	return "neutron-" + t.Settings.Neutron.Router
}

// NodeVpcFound is false before the router of the nodes' Vpc was found in Neutron.
func (t Topology) NodeVpcFound() bool {
	if t.Cloud == nil {
		return false
	}
	_, found := t.Cloud.Router()
	return found
}

// NodeSubnet is the Subnet that nodes have a port on.
func (t Topology) NodeSubnet() string {
	if t.Settings.Overlay() {
		return v1.JoinSubnet
	}
	return v1.PodSubnet
}

// Router returns the router of that name, nil if there is none. It errs without
// a connection to OVN: then a router that is not found may exist.
func (t Topology) Router(name string) (*decide.Router, error) {
	r, ok := t.OVN.Router(name)
	if err := t.connected(); err != nil || !ok {
		return nil, err
	}
	seen := &decide.Router{Name: r.Name, Ours: r.Ours, Networks: r.Networks, MTU: r.MTU}
	for _, n := range r.Interfaces {
		seen.Interfaces = append(seen.Interfaces, decide.RouterInterface(n))
	}
	return seen, nil
}

// Parent returns a node's own port in Neutron, nil if there is none. Neutron has
// written it to OVN, so it is read there. It errs without a connection to OVN:
// then a port that is not found may exist.
func (t Topology) Parent(s decide.ParentPortSelector) (*decide.ParentPort, error) {
	var ports []decide.ParentCandidate
	for _, p := range t.OVN.ParentCandidates(s.Words()...) {
		ports = append(ports, decide.ParentCandidate(p))
	}
	if err := t.connected(); err != nil {
		return nil, err
	}
	return s.Parent(ports), nil
}

// connected returns an error without a connection to OVN. Call it after reading:
// what was read is complete if there is a connection then.
func (t Topology) connected() error {
	if !t.OVN.Connected() {
		return fmt.Errorf("OVN's northbound database %v cannot be reached", t.Settings.NBAddresses)
	}
	return nil
}
