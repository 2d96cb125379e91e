package netdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/isthmus-cni/isthmus/internal/plug"
)

// podNamespaces are the network namespaces of the node's pods.
type podNamespaces struct {
	// dir is where the container runtime keeps them.
	dir string
	// node is the node's own.
	node *Namespace
}

// each calls visit for each namespace until it returns done or an error. The
// namespace is closed afterwards.
func (p podNamespaces) each(visit func(*Namespace) (done bool, err error)) error {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for pods' network namespaces: %w", err)
	}
	for _, e := range entries {
		file, err := os.Open(filepath.Join(p.dir, e.Name()))
		if err != nil {
			continue // it was deleted meanwhile
		}
		pod, err := OpenNamespace(file)
		if err != nil {
			continue // the namespace has ended, but the runtime has left its file
		}
		done, err := visit(pod)
		pod.Close()
		if done || err != nil {
			return err
		}
	}
	return nil
}

// withID calls f with the namespace that the node's kernel knows by that number.
// found is false if there is none, as for a negative number.
func (p podNamespaces) withID(number int, f func(pod *Namespace) error) (found bool, err error) {
	if number < 0 {
		return false, nil
	}
	err = p.each(func(pod *Namespace) (bool, error) {
		if id, err := p.node.GetNetNsIdByFd(pod.fd()); err == nil && id == number {
			found = true
			return true, f(pod)
		}
		return false, nil
	})
	return found, err
}

// Retag does the steps again in the running pod at the other end of a host link, when
// its claim names another VLAN or trunk. The step that writes the mark comes last,
// because a mark with a VLAN means that the pod has that VLAN.
func (m *Machine) Retag(ctx context.Context, host Link, steps []plug.Step) error {
	var first, last []plug.Step
	for _, s := range steps {
		if _, marks := s.(plug.Veth); marks {
			last = append(last, s)
		} else {
			first = append(first, s)
		}
	}
	found, err := m.vlans.pods.withID(host.peer, func(pod *Namespace) error { return m.Do(ctx, pod, append(first, last...)) })
	if err == nil && !found {
		err = fmt.Errorf("its network namespace is not in %s", m.vlans.pods.dir)
	}
	return err
}
