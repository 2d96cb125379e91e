package controller

import (
	"fmt"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/ovn"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// topology is where the nodes are in the network, and what OVN says of routers
// and of the nodes' own ports.
type topology struct {
	settings settings.Settings
	ovn      *ovn.Fabric
	// cloud is nil where there is no Neutron.
	cloud *cloud.Cloud
}

// nodeVpc is the Vpc that the nodes are in. Before its router was found it has a
// name that no Vpc has.
func (t topology) nodeVpc() string {
	if t.settings.Overlay() {
		return v1.DefaultVpc
	}
	if t.cloud != nil {
		if id, found := t.cloud.Router(); found {
			return "neutron-" + id
		}
	}
	return "neutron-" + t.settings.Neutron.Router
}

// nodeVpcFound is false before the router of the nodes' Vpc was found in Neutron.
func (t topology) nodeVpcFound() bool {
	if t.cloud == nil {
		return false
	}
	_, found := t.cloud.Router()
	return found
}

// nodeSubnet is the Subnet that nodes have a port on.
func (t topology) nodeSubnet() string {
	if t.settings.Overlay() {
		return v1.JoinSubnet
	}
	return v1.PodSubnet
}

// router returns the router of that name, nil if there is none. It errs without
// a connection to OVN: then a router that is not found may exist.
func (t topology) router(name string) (*decide.Router, error) {
	r, ok := t.ovn.Router(name)
	if err := t.connected(); err != nil || !ok {
		return nil, err
	}
	seen := &decide.Router{Name: r.Name, Ours: r.Ours, Networks: r.Networks, MTU: r.MTU}
	for _, n := range r.Interfaces {
		seen.Interfaces = append(seen.Interfaces, decide.RouterInterface(n))
	}
	return seen, nil
}

// parent returns a node's own port in Neutron, nil if there is none. Neutron has
// written it to OVN, so it is read there. It errs without a connection to OVN:
// then a port that is not found may exist.
func (t topology) parent(s decide.ParentPortSelector) (*decide.ParentPort, error) {
	var ports []decide.ParentCandidate
	for _, p := range t.ovn.ParentCandidates(s.Words()...) {
		ports = append(ports, decide.ParentCandidate(p))
	}
	if err := t.connected(); err != nil {
		return nil, err
	}
	return s.Parent(ports), nil
}

// connected returns an error without a connection to OVN. Call it after reading:
// what was read is complete if there is a connection then.
func (t topology) connected() error {
	if !t.ovn.Connected() {
		return fmt.Errorf("OVN's northbound database %v cannot be reached", t.settings.NBAddresses)
	}
	return nil
}
