package controller

import (
	"fmt"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// nodeVpc is the Vpc that the nodes are in. Before its router was found it has a
// name that no Vpc has.
func (c *cluster) nodeVpc() string {
	if c.settings.Overlay() {
		return v1.DefaultVpc
	}
	if cl := c.cloud.Load(); cl != nil {
		if id, found := cl.Router(); found {
			return "neutron-" + id
		}
	}
	return "neutron-" + c.settings.Neutron.Router
}

// nodeVpcFound is false before the router of the nodes' Vpc was found.
func (c *cluster) nodeVpcFound() bool {
	cl := c.cloud.Load()
	if cl == nil {
		return false
	}
	_, found := cl.Router()
	return found
}

// nodeSubnet is the Subnet that nodes have a port on.
func (c *cluster) nodeSubnet() string {
	if c.settings.Overlay() {
		return v1.JoinSubnet
	}
	return v1.PodSubnet
}

// router returns the router of that name, nil if there is none. It errs without
// a connection to OVN: then a router that is not found may exist.
func (c *cluster) router(name string) (*decide.Router, error) {
	f := c.fabric.Load()
	r, ok := f.Router(name)
	switch {
	case !f.Connected():
		return nil, fmt.Errorf("OVN's northbound database %v cannot be reached", c.settings.NBAddresses)
	case !ok:
		return nil, nil
	}
	seen := &decide.Router{Name: r.Name, Ours: r.Ours, Networks: r.Networks, MTU: r.MTU}
	for _, n := range r.Interfaces {
		seen.Interfaces = append(seen.Interfaces, decide.RouterInterface(n))
	}
	return seen, nil
}
