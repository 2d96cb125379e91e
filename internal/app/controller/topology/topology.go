// Package topology knows where the nodes are in the network: their Vpc and
// Subnet, the routers and the nodes' parent ports in OVN, and the OpenStack
// projects of namespaces. It decides nothing.
package topology

import (
	"fmt"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/ovn"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Topology knows where the nodes are in the network, and reads routers and parent
// ports from OVN.
type Topology struct {
	Settings settings.Settings
	OVN      *ovn.Fabric
	// Cloud is nil without Neutron.
	Cloud *cloud.Cloud
}

// NodeVpc returns the Vpc that the nodes are in. Until its router is found, the
// result is a name that no Vpc has.
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

// NodeVpcFound is false until the router of the nodes' Vpc is found in Neutron.
func (t Topology) NodeVpcFound() bool {
	if t.Cloud == nil {
		return false
	}
	_, found := t.Cloud.Router()
	return found
}

// NodeSubnet returns the Subnet that nodes have a port on.
func (t Topology) NodeSubnet() string {
	if t.Settings.Overlay() {
		return v1.JoinSubnet
	}
	return v1.PodSubnet
}

// Router returns the router of that name; nil if there is none. It errs without a
// connection to OVN, because a router that is not found may then exist.
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

// Parent returns a node's parent port; nil if there is none. It reads OVN, which
// has all Neutron ports. It errs without a connection to OVN, because a port that
// is not found may then exist.
func (t Topology) Parent(s decide.ParentPortSelector) (*decide.ParentPort, error) {
	var ports []decide.ParentCandidate
	for _, p := range t.OVN.ParentCandidates(s.Keys()...) {
		ports = append(ports, decide.ParentCandidate(p))
	}
	if err := t.connected(); err != nil {
		return nil, err
	}
	return s.Parent(ports), nil
}

// connected returns an error without a connection to OVN. Call it after reading:
// if there is a connection then, what was read is complete.
func (t Topology) connected() error {
	if !t.OVN.Connected() {
		return fmt.Errorf("OVN's northbound database %v cannot be reached", t.Settings.NBAddresses)
	}
	return nil
}
