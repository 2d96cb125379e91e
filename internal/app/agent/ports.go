package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// rebindPods binds running pods to the ports that their claims name now. If a port was
// deleted in OpenStack, the controller makes a new one with another id.
func (n *node) rebindPods(ctx context.Context) error {
	var claims v1.IPList
	if err := n.kube.cache.List(ctx, &claims); err != nil {
		return fmt.Errorf("list IPs: %w", err)
	}
	var errs []error
	for _, p := range movedPorts(n.ovs.Ports(plug.KeyOwner, n.owner), claims.Items) {
		if err := n.ovs.Identify(ctx, p.Name, p.IDs); err != nil {
			errs = append(errs, err)
			continue
		}
		n.log.Info("pod bound to another port", "interface", p.Name, "port", p.IDs[plug.KeyIfaceID])
	}
	return errors.Join(errs...)
}

// movedPorts returns the interfaces of pods whose claims name another port, with the
// external_ids that they must get. It leaves out an interface without a pod UID, because
// it may belong to an earlier pod of the same name.
func movedPorts(ports []netdev.Port, claims []v1.IP) []netdev.Port {
	byPod := map[string]v1.IPSpec{}
	for _, ip := range claims {
		byPod[ip.Spec.Namespace+"/"+ip.Spec.PodName] = ip.Spec
	}
	var all []netdev.Port
	for _, p := range ports {
		c, ok := byPod[p.IDs[plug.KeyPod]]
		if ok && c.Attach.OVS != nil && c.PodUID != "" && c.PodUID == string(podUID(p)) && c.Attach.OVS.IfaceID != p.IDs[plug.KeyIfaceID] {
			all = append(all, netdev.Port{Name: p.Name, IDs: map[string]string{plug.KeyIfaceID: c.Attach.OVS.IfaceID}})
		}
	}
	return all
}

// probes returns the host links of this node's pods, sorted; the switch's ports name
// them. Host links have IPv4 link-local addresses only, so the node probes pods over
// IPv4 only.
func probes(ports []netdev.Port) []nodenet.Probe {
	var all []nodenet.Probe
	for _, p := range ports {
		link := p.IDs[plug.KeyHostLink]
		if link == "" {
			continue
		}
		for text := range strings.SplitSeq(p.IDs[plug.KeyAddrs], ",") {
			if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
				all = append(all, nodenet.Probe{Pod: p.IDs[plug.KeyPod], Addr: a, Link: link})
			}
		}
	}
	slices.SortFunc(all, func(a, b nodenet.Probe) int { return strings.Compare(a.Link, b.Link) })
	return all
}

// podUID returns the UID of a port's pod; empty if unknown. Earlier releases wrote it
// only as the port's version, and not on Neutron's ports.
func podUID(p netdev.Port) types.UID {
	return types.UID(cmp.Or(p.IDs[plug.KeyUID], p.IDs[plug.KeyIfaceIDVer]))
}
