package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/isthmus-cni/isthmus/internal/app/agent/claim"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// attacher attaches the pods of this node to the network, in one of two modes.
type attacher interface {
	mode() plug.Mode
	// ready returns why no pod can be plugged now; nil if pods can be plugged.
	ready() error
	// node returns the properties of the node that plug.Steps needs to plug p.
	node(p plug.Port) (plug.Node, error)
	// sweep removes our links and ports except those in inUse, by their names on the
	// node. It leaves alone the sandboxes that a request is working on.
	sweep(ctx context.Context, inUse map[string]bool, locks *sandboxLocks) error
}

// switchAttacher attaches pods to the node's own Open vSwitch.
type switchAttacher struct {
	ovs           *netdev.Switch
	machine       *netdev.Machine
	bridge, owner string
	// underlay returns the tunnels' MTU, 0 if unknown, and whether they use IPv6.
	underlay func() (mtu int, six bool)
}

func (a switchAttacher) mode() plug.Mode { return plug.OVS }

func (a switchAttacher) ready() error {
	_, err := a.node(plug.Port{})
	return err
}

func (a switchAttacher) node(plug.Port) (plug.Node, error) {
	if !a.ovs.Connected() {
		return plug.Node{}, netdev.ErrNotConnected
	}
	userspace, ok := a.ovs.Bridge(a.bridge)
	if !ok {
		return plug.Node{}, &cniwire.Error{
			Code: cniwire.CodeTryAgainLater, Msg: "the node has no bridge " + a.bridge, Details: "is ovn-controller running on this node?",
		}
	}
	mtu, six := a.underlay()
	return plug.Node{Mode: plug.OVS, Bridge: a.bridge, Owner: a.owner, Userspace: userspace, UnderlayMTU: mtu, Underlay6: six}, nil
}

// sweep finds our ports by their owner and our links by their alias.
func (a switchAttacher) sweep(ctx context.Context, inUse map[string]bool, locks *sandboxLocks) error {
	links, err := a.machine.Links()
	errs := []error{err}
	for _, port := range a.ovs.Ports(plug.KeyOwner, a.owner) {
		if container := port.IDs[plug.KeyContainer]; container != "" && !inUse[port.Name] {
			errs = append(errs, locks.ifUnlocked(container, func() error { return a.ovs.Remove(ctx, port.Name) }))
		}
	}
	for _, l := range links {
		if !inUse[l.Name] {
			errs = append(errs, locks.ifUnlocked(l.Mark.Container, func() error { return a.machine.RemoveLink(l.Name) }))
		}
	}
	return errors.Join(errs...)
}

// trunkAttacher attaches pods as VLANs on the trunk port in OpenStack of a node that is
// a virtual machine.
type trunkAttacher struct {
	machine *netdev.Machine
	// nic is the interface that the option names; empty for the one whose MAC address
	// the claim names.
	nic string
}

func (a trunkAttacher) mode() plug.Mode { return plug.VLAN }

func (a trunkAttacher) ready() error {
	if a.nic == "" {
		return nil
	}
	_, err := a.machine.NICNamed(a.nic)
	return err
}

func (a trunkAttacher) node(p plug.Port) (plug.Node, error) {
	nic, err := a.trunkNIC(p)
	return plug.Node{Mode: plug.VLAN, Trunk: nic.Name, TrunkMTU: nic.MTU}, err
}

// trunkNIC returns the interface of p's trunk. It returns an empty NIC for a claim that
// names no trunk: plug.Steps then refuses the claim and says why.
func (a trunkAttacher) trunkNIC(p plug.Port) (netdev.NIC, error) {
	switch {
	case a.nic != "":
		return a.machine.NICNamed(a.nic)
	case p.Parent == "":
		return netdev.NIC{}, nil
	}
	return a.machine.NIC(string(p.Parent))
}

// sweep finds a pod's VLAN link by its host link.
func (a trunkAttacher) sweep(ctx context.Context, inUse map[string]bool, locks *sandboxLocks) error {
	links, err := a.machine.Links()
	errs := []error{err}
	for _, l := range links {
		if inUse[l.Name] {
			continue
		}
		errs = append(errs, locks.ifUnlocked(l.Mark.Container, func() error {
			err := a.machine.Undo(ctx, nil, plug.Remains(plug.VLAN, l.Mark.Container, l.Mark.Link))
			return errors.Join(err, a.machine.RemoveLink(l.Name))
		}))
	}
	return errors.Join(errs...)
}

// retag gives a running pod the VLAN that its claim names now.
func (a trunkAttacher) retag(ctx context.Context, p nestedPod) error {
	port, err := claim.Port(&p.claim, cniwire.Attachment{Container: p.link.Mark.Container, Link: p.link.Mark.Link})
	if err != nil {
		return err
	}
	node, err := a.node(port)
	if err != nil {
		return fmt.Errorf("pod %s: %w", port.Pod, err)
	}
	steps, err := plug.Steps(port, node)
	if err != nil {
		return err
	}
	if err := a.machine.Retag(ctx, p.link, steps); err != nil {
		return fmt.Errorf("move pod %s to VLAN %d: %w; delete the pod if this does not pass", port.Pod, port.Tag, err)
	}
	return nil
}
