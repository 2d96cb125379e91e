package netdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/isthmus-cni/isthmus/internal/plug"
)

// each shows the pods' namespaces to visit until it is done.
func (m *Machine) each(visit func(*Namespace) (done bool, err error)) error {
	entries, err := os.ReadDir(m.namespaces)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for pods' network namespaces: %w", err)
	}
	for _, e := range entries {
		file, err := os.Open(filepath.Join(m.namespaces, e.Name()))
		if err != nil {
			continue // gone meanwhile
		}
		pod, err := OpenNamespace(file)
		if err != nil {
			continue // what the runtime left of one that has ended
		}
		done, err := visit(pod)
		pod.Close()
		if done || err != nil {
			return err
		}
	}
	return nil
}

// behind does f in the namespace that the node's kernel knows by that number.
func (m *Machine) behind(number int, f func(pod *Namespace) error) (found bool, err error) {
	if number < 0 {
		return false, nil
	}
	err = m.each(func(pod *Namespace) (bool, error) {
		its, err := m.node.GetNetNsIdByFd(pod.fd())
		if err != nil || its != number {
			return false, nil
		}
		found = true
		return true, f(pod)
	})
	return found, err
}

// Retag does the steps again in the running pod behind a host link, whose claim names
// another VLAN or trunk than its mark does. The mark comes last: if it says the VLAN, the pod has it.
func (m *Machine) Retag(ctx context.Context, host Link, steps []plug.Step) error {
	var first, last []plug.Step
	for _, s := range steps {
		if _, marks := s.(plug.Veth); marks {
			last = append(last, s)
		} else {
			first = append(first, s)
		}
	}
	found, err := m.behind(host.peer, func(pod *Namespace) error { return m.Do(ctx, pod, append(first, last...)) })
	if err == nil && !found {
		err = fmt.Errorf("its network namespace is not in %s", m.namespaces)
	}
	return err
}
