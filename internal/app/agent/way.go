package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// way is how the pods of this node reach the network.
type way interface {
	mode() plug.Mode
	// ready says why no pod can be plugged now.
	ready() error
	// node is what the node is like for a port.
	node(p plug.Port) (plug.Node, error)
	// sweep removes what is ours and none of alive, which are names of links on
	// the node. What a request is about meanwhile is left alone.
	sweep(ctx context.Context, alive map[string]bool, b *busy) error
}

// onSwitch is the way into the node's own Open vSwitch.
type onSwitch struct {
	ovs           *netdev.Switch
	machine       *netdev.Machine
	bridge, owner string
	// underlay gives the tunnels' MTU, 0 if unknown, and whether they run over IPv6.
	underlay func() (mtu int, six bool)
}

func (w onSwitch) mode() plug.Mode { return plug.OVS }

func (w onSwitch) ready() error {
	_, err := w.node(plug.Port{})
	return err
}

func (w onSwitch) node(plug.Port) (plug.Node, error) {
	if !w.ovs.Connected() {
		return plug.Node{}, netdev.ErrAway
	}
	userspace, ok := w.ovs.Bridge(w.bridge)
	if !ok {
		return plug.Node{}, &cniwire.Error{
			Code: cniwire.CodeTryAgainLater, Msg: "the node has no bridge " + w.bridge, Details: "is ovn-controller running on this node?",
		}
	}
	mtu, six := w.underlay()
	return plug.Node{Mode: plug.OVS, Bridge: w.bridge, Owner: w.owner, Userspace: userspace, UnderlayMTU: mtu, Underlay6: six}, nil
}

// sweep knows ports by their mark and links by their alias.
func (w onSwitch) sweep(ctx context.Context, alive map[string]bool, b *busy) error {
	links, err := w.machine.Links()
	errs := []error{err}
	for _, port := range w.ovs.Ports(plug.KeyOwner, w.owner) {
		if container := port.IDs[plug.KeyContainer]; container != "" && !alive[port.Name] {
			errs = append(errs, b.idle(container, func() error { return w.ovs.Remove(ctx, port.Name) }))
		}
	}
	for _, l := range links {
		if !alive[l.Name] {
			errs = append(errs, b.idle(l.Mark.Container, func() error { return w.machine.RemoveLink(l.Name) }))
		}
	}
	return errors.Join(errs...)
}

// onTrunk is the way by VLANs of the trunk port that the node, a virtual
// machine, has in OpenStack.
type onTrunk struct {
	machine *netdev.Machine
	// nic is the interface that the user says, empty for the one that the claim says.
	nic string
}

func (w onTrunk) mode() plug.Mode { return plug.VLAN }

func (w onTrunk) ready() error {
	if w.nic == "" {
		return nil
	}
	_, err := w.machine.NICNamed(w.nic)
	return err
}

func (w onTrunk) node(p plug.Port) (plug.Node, error) {
	nic, err := w.find(p)
	return plug.Node{Mode: plug.VLAN, Trunk: nic.Name, TrunkMTU: nic.MTU}, err
}

// find has no interface for a claim that is none for a trunk: that one is
// refused with better words.
func (w onTrunk) find(p plug.Port) (netdev.NIC, error) {
	switch {
	case w.nic != "":
		return w.machine.NICNamed(w.nic)
	case p.Parent == "":
		return netdev.NIC{}, nil
	}
	return w.machine.NIC(string(p.Parent))
}

// sweep finds a pod's VLAN by its host link.
func (w onTrunk) sweep(ctx context.Context, alive map[string]bool, b *busy) error {
	links, err := w.machine.Links()
	errs := []error{err}
	for _, l := range links {
		if alive[l.Name] {
			continue
		}
		errs = append(errs, b.idle(l.Mark.Container, func() error {
			err := w.machine.Undo(ctx, nil, plug.Remains(plug.VLAN, l.Mark.Container, l.Mark.Link))
			return errors.Join(err, w.machine.RemoveLink(l.Name))
		}))
	}
	return errors.Join(errs...)
}

// retag gives a running pod the VLAN that its claim says now.
func (w onTrunk) retag(ctx context.Context, p nestedPod) error {
	port, err := portOf(&p.claim, cniwire.Attachment{Container: p.link.Mark.Container, Link: p.link.Mark.Link})
	if err != nil {
		return err
	}
	node, err := w.node(port)
	if err != nil {
		return fmt.Errorf("pod %s: %w", port.Pod, err)
	}
	steps, err := plug.Steps(port, node)
	if err != nil {
		return err
	}
	if err := w.machine.Retag(ctx, p.link, steps); err != nil {
		return fmt.Errorf("move pod %s to VLAN %d: %w; delete the pod if it stays so", port.Pod, port.Tag, err)
	}
	return nil
}
