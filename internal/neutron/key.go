package neutron

import (
	"maps"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PoolKey is what the ports of one pool have in common.
type PoolKey struct {
	Node, Project, Network string
	// Parent is the port that they are behind; empty for such as are bound by
	// themselves.
	Parent string
	// Subnets and Groups are ids, sorted, with commas between.
	Subnets, Groups string
}

// keyOf is the pool that a port fits into; false if into none: what has an
// address or a MAC of its own choice must be made as it is wanted.
func keyOf(f fields, wanted bool) (PoolKey, bool) {
	ips, _ := f["fixed_ips"].(fixedIPs)
	groups, _ := f["security_groups"].(set)
	k := PoolKey{Groups: strings.Join(sorted(groups), ",")}
	k.Node, _ = f["binding:host_id"].(string)
	if k.Parent, _ = f["parent"].(string); k.Parent != "" {
		k.Node, _ = f["node"].(string)
	}
	k.Project, _ = f["project_id"].(string)
	k.Network, _ = f["network_id"].(string)
	var subnets []string
	for _, ip := range ips {
		if ip.Subnet == "" || wanted && ip.Addr != "" {
			return k, false
		}
		subnets = append(subnets, ip.Subnet)
	}
	k.Subnets = strings.Join(sorted(subnets), ",")
	_, mac := f["mac_address"]
	foreign := f["device_owner"] != deviceOwner && (k.Parent == "" || f["device_owner"] != subportOwner)
	own := wanted && mac || foreign || f["port_security_enabled"] == false
	return k, !own && k.Node != "" && k.Network != "" && k.Subnets != "" && k.Groups != ""
}

// unchosen is what is wanted without the addresses that it must have.
func unchosen(want fields) fields {
	f := maps.Clone(want)
	delete(f, "mac_address")
	if ips, is := f["fixed_ips"].(fixedIPs); is {
		anyOf := slices.Clone(ips)
		for i := range anyOf {
			anyOf[i].Addr = ""
		}
		f["fixed_ips"] = anyOf
	}
	return f
}

// fit is the pool that a port belongs into.
func (s *stock) fit(o object) (PoolKey, bool) {
	f := o.fields
	if parent := text(o, "parent"); parent != "" {
		f = maps.Clone(f)
		f["node"] = s.nodes[parent]
	}
	return keyOf(f, false)
}

// nodeOf is the node that a port is for.
func (s *stock) nodeOf(o object) string {
	if parent := text(o, "parent"); parent != "" {
		return s.nodes[parent]
	}
	return text(o, "binding:host_id")
}

// pooled tells whether a unit is no object of Kubernetes', but a pool.
func pooled(u intent.Unit) bool { return u == "" || strings.HasPrefix(string(u), "pool/") }

func poolUnit(node string) intent.Unit { return intent.Unit("pool/" + node) }

func nodeOfPool(u intent.Unit) (string, bool) { return strings.CutPrefix(string(u), "pool/") }

func split(ids string) []string { return strings.Split(ids, ",") }

// place is a pool's key but for its groups.
func (k PoolKey) place() PoolKey {
	k.Groups = ""
	return k
}

// like is what ports of a pool are made like that no pod has asked for.
func (k PoolKey) like() fields {
	var ips fixedIPs
	for _, id := range split(k.Subnets) {
		ips = append(ips, fixedIP{Subnet: id})
	}
	f := fields{
		"admin_state_up": true, "device_owner": deviceOwner, "project_id": k.Project, "network_id": k.Network, "fixed_ips": ips,
	}
	if k.Parent != "" {
		f["parent"], f["node"] = k.Parent, k.Node
	} else {
		f["binding:host_id"] = k.Node
	}
	if k.Groups != "" {
		f["security_groups"] = set(split(k.Groups))
	}
	return f
}

// locate learns from a pool's port on which node the one is that it is behind.
func (s *stock) locate(u intent.Unit, o object) {
	if node, is := nodeOfPool(u); is && text(o, "parent") != "" && s.nodes[text(o, "parent")] == "" {
		s.nodes[text(o, "parent")] = node
	}
}
