// Package netdev carries out the steps that package plug decides: with netlink in the
// network namespaces of the node and the pod, and in the node's switch database. It
// knows neither Kubernetes nor the reason for a step.
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

// Machine makes pods' interfaces on the node. Its methods may be called from any
// goroutine, but only one call at a time for each pod.
type Machine struct {
	ovs   *Switch // nil on a node without Open vSwitch
	node  *Namespace
	veths vethPairs
	vlans vlanLinks
}

// NewMachine returns a Machine that works in the network namespace of the calling
// thread. ovs is nil on a node without Open vSwitch; the Machine never closes it.
// namespaces is the directory where the container runtime keeps the pods' network
// namespaces, for a pod whose namespace the caller does not have.
func NewMachine(ovs *Switch, namespaces string) (*Machine, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the node's network namespace: %w", err)
	}
	node, err := OpenNamespace(file)
	if err != nil {
		return nil, err
	}
	vlans := vlanLinks{node: node, pods: podNamespaces{dir: namespaces, node: node}}
	return &Machine{ovs: ovs, node: node, veths: vethPairs{node}, vlans: vlans}, nil
}

// Close closes the handles of the node's namespace. The links in it stay.
func (m *Machine) Close() { m.node.Close() }

// undoTime bounds the undo of a failed Do, whose context may have ended.
const undoTime = 5 * time.Second

// Do does the steps in order. If one fails, it undoes the steps that this call has
// done, last first. It leaves alone what is already as it should be: doing the same
// steps again changes nothing.
func (m *Machine) Do(ctx context.Context, pod *Namespace, steps []plug.Step) (err error) {
	var made []plug.Step
	defer func() {
		if err != nil {
			err = errors.Join(err, m.undoMade(ctx, pod, made))
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

func (m *Machine) undoMade(ctx context.Context, pod *Namespace, made []plug.Step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	return m.Undo(ctx, pod, made)
}

// Undo undoes the steps, last first. It tries all of them; a missing link or port is
// no error. If pod is nil, Undo finds the pod's namespace from the node.
func (m *Machine) Undo(ctx context.Context, pod *Namespace, steps []plug.Step) error {
	var errs []error
	for _, s := range slices.Backward(steps) {
		if err := m.undo(ctx, pod, s); err != nil {
			errs = append(errs, fmt.Errorf("undo %s: %w", s, err))
		}
	}
	return errors.Join(errs...)
}

// Check returns an error for each step whose result is missing or has changed.
func (m *Machine) Check(pod *Namespace, steps []plug.Step) error {
	var errs []error
	for _, s := range steps {
		if err := m.check(pod, s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s, err))
		}
	}
	return errors.Join(errs...)
}

// do does one step. made is true if the step must be undone, even if err is not nil.
func (m *Machine) do(ctx context.Context, pod *Namespace, s plug.Step) (made bool, err error) {
	switch s := s.(type) {
	case plug.Veth:
		return m.veths.add(pod, s)
	case plug.VLANLink:
		return m.vlans.add(pod, s)
	case plug.ChecksumOff:
		return false, m.veths.checksumOff(pod, s)
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
	return false, fmt.Errorf("unknown step %T", s)
}

// undo undoes one step. The kernel removes addresses and routes with their link.
func (m *Machine) undo(ctx context.Context, pod *Namespace, s plug.Step) error {
	switch s := s.(type) {
	case plug.Veth:
		return removeLink(m.node, s.Host)
	case plug.VLANLink:
		return m.vlans.remove(pod, s)
	case plug.SwitchPort:
		return m.ovs.Remove(ctx, s.Name)
	}
	return nil
}

// check checks one step. It skips Installed, because OVN may reinstall a running
// pod's port at any time.
func (m *Machine) check(pod *Namespace, s plug.Step) error {
	switch s := s.(type) {
	case plug.Veth:
		return m.veths.check(pod, s)
	case plug.VLANLink:
		return m.vlans.check(pod, s)
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

// Link is a link of the node that has our mark. A newer link has a higher Index.
type Link struct {
	Name  string
	Index int
	Mark  plug.Mark
	// peer is the node's number for the namespace of the other end; negative if none.
	peer int
}

// Links returns the node's links that have our mark.
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

// RemoveLink deletes a link of the node and its peer. A missing link is no error.
func (m *Machine) RemoveLink(name string) error { return removeLink(m.node, name) }
