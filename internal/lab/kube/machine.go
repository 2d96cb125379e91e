package kube

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

// Machine is a machine that becomes a node of the cluster and is not one of Nodes.
type Machine struct {
	Name string
	// Provider is its providerID.
	Provider string
	// Addresses are the addresses at which the API server may reach it.
	Addresses []netip.Addr
}

// joined is the directory on the machine for the files of Joining.
const joined = "/etc/kubernetes/"

// Joining returns the content of the files that make m a node, by their name below
// /etc/kubernetes.
func (c Cluster) Joining(m Machine) (map[string][]byte, error) {
	a, err := openAuthority(filepath.Join(c.Dir, "pki"), time.Now())
	if err != nil {
		return nil, err
	}
	server, user := serverOf(m.Name, m.Addresses...), userOf(m.Name)
	for _, id := range []identity{server, user} {
		if err := a.issue(id); err != nil {
			return nil, err
		}
	}
	if err := c.writeKubeconfig(a, user.file); err != nil {
		return nil, err
	}
	config := kubeletConfig(joined+"ca.crt", joined+"server")
	config["providerID"] = m.Provider
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"kubelet.yaml": text}
	for name, from := range map[string]string{
		"ca.crt": a.crt("ca"), "server.crt": a.crt(server.file), "server.key": a.keyFile(server.file),
		"kubelet.kubeconfig": c.kubeconfig(user.file),
	} {
		if files[name], err = os.ReadFile(from); err != nil {
			return nil, fmt.Errorf("what %s joins the cluster with: %w", m.Name, err)
		}
	}
	return files, nil
}

func serverOf(node string, addresses ...netip.Addr) identity {
	id := identity{file: node + "-server", name: node, hosts: []string{node}}
	for _, a := range addresses {
		id.hosts = append(id.hosts, a.String())
	}
	return id
}

func userOf(node string) identity {
	return identity{file: node, name: "system:node:" + node, groups: []string{"system:nodes"}}
}
