// Package netdev does the steps that package plug decides: with netlink in the
// node's and the pod's network namespaces, and in the node's switch database.
// It knows nothing of Kubernetes, and not why a step is wanted.
package netdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/isthmus-cni/isthmus/internal/plug"
)

// Machine is the node as far as pods' interfaces are concerned.
type Machine struct {
	ovs        *Switch
	node       *Namespace
	namespaces string
}

// NewMachine works in the network namespace of the calling thread. It never
// closes ovs, which is nil on a node that plugs nothing into a switch.
// namespaces is the directory where the container runtime keeps those of pods:
// looked into for a pod whose own was not handed to us.
func NewMachine(ovs *Switch, namespaces string) (*Machine, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the node's network namespace: %w", err)
	}
	node, err := OpenNamespace(file)
	if err != nil {
		return nil, err
	}
	return &Machine{ovs: ovs, node: node, namespaces: namespaces}, nil
}

// Close lets go of the node's namespace; it changes nothing.
func (m *Machine) Close() { m.node.Close() }

// undoTime bounds the undoing of an attempt whose own time is over.
const undoTime = 5 * time.Second

// Do does the steps in order. If one fails, those that this call did are undone,
// last first. What is there already as it should be is left alone, so that
// doing the same again changes nothing.
func (m *Machine) Do(ctx context.Context, pod *Namespace, steps []plug.Step) (err error) {
	var made []plug.Step
	defer func() {
		if err != nil {
			err = errors.Join(err, m.afterwards(ctx, pod, made))
		}
	}()
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("before %s: %w", s, err)
		}
		did, err := m.do(ctx, pod, s)
		if did {
			made = append(made, s)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (m *Machine) afterwards(ctx context.Context, pod *Namespace, made []plug.Step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	return m.Undo(ctx, pod, made)
}

// Undo takes the steps back, last first, tries all of them, and is content
// with what is not there. pod may be nil: what is in there is then looked for
// from the node.
func (m *Machine) Undo(ctx context.Context, pod *Namespace, steps []plug.Step) error {
	var errs []error
	for _, s := range slices.Backward(steps) {
		if err := m.undo(ctx, pod, s); err != nil {
			errs = append(errs, fmt.Errorf("undo %s: %w", s, err))
		}
	}
	return errors.Join(errs...)
}

// Check says everything that is not as the steps made it.
func (m *Machine) Check(pod *Namespace, steps []plug.Step) error {
	var errs []error
	for _, s := range steps {
		if err := m.check(pod, s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s, err))
		}
	}
	return errors.Join(errs...)
}

// do reports whether there is anything to undo, also when it fails half way.
func (m *Machine) do(ctx context.Context, pod *Namespace, s plug.Step) (made bool, err error) {
	switch s := s.(type) {
	case plug.Veth:
		return m.addVeth(pod, s)
	case plug.VLANLink:
		return m.addVLAN(pod, s)
	case plug.ChecksumOff:
		return false, m.checksumOff(pod, s)
	case plug.Address:
		return false, addAddress(pod, s.Link, s.Prefix)
	case plug.PodRoute:
		return false, addRoute(pod, s)
	case plug.NodeAddress:
		return false, addAddress(m.node, s.Host, s.Prefix)
	case plug.SwitchPort:
		return m.ovs.Add(ctx, NewPort{Bridge: s.Bridge, Name: s.Name, IDs: s.IDs})
	case plug.Installed:
		return false, m.ovs.Installed(ctx, s.Name)
	}
	return false, fmt.Errorf("nobody knows how to do %T", s)
}

// undo has little to do: addresses and routes go with their link, and the wait
// made nothing.
func (m *Machine) undo(ctx context.Context, pod *Namespace, s plug.Step) error {
	switch s := s.(type) {
	case plug.Veth:
		return m.delLink(s.Host)
	case plug.VLANLink:
		return m.delVLAN(pod, s)
	case plug.SwitchPort:
		return m.ovs.Remove(ctx, s.Name)
	}
	return nil
}

// check does not ask whether the port is still installed: readiness is an edge.
func (m *Machine) check(pod *Namespace, s plug.Step) error {
	switch s := s.(type) {
	case plug.Veth:
		return m.checkVeth(pod, s)
	case plug.VLANLink:
		return m.checkVLAN(pod, s)
	case plug.Address:
		return checkAddress(pod, s.Link, s.Prefix)
	case plug.PodRoute:
		return checkRoute(pod, s)
	case plug.NodeAddress:
		return checkAddress(m.node, s.Host, s.Prefix)
	case plug.SwitchPort:
		return m.ovs.check(s)
	}
	return nil
}

// Link is one of the node's links that bear our mark. Those made later have a
// higher Index.
type Link struct {
	Name  string
	Index int
	Mark  plug.Mark
	// peer is the kernel's number for the namespace of the other end.
	peer int
}

// Links are the node's links that bear our mark.
func (m *Machine) Links() ([]Link, error) {
	links, err := m.node.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the node's links: %w", err)
	}
	var all []Link
	for _, l := range links {
		a := l.Attrs()
		if mark, ours := plug.ParseAlias(a.Alias); ours {
			all = append(all, Link{Name: a.Name, Index: a.Index, Mark: mark, peer: a.NetNsID})
		}
	}
	return all, nil
}

// RemoveLink deletes a link of the node with its peer; that it is not there is
// no error.
func (m *Machine) RemoveLink(name string) error { return m.delLink(name) }
