package agent

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// followPorts binds running pods to the ports that their claims name now: one
// that somebody deleted in OpenStack comes back under another id.
func (n *node) followPorts(ctx context.Context) error {
	var claims v1.IPList
	if err := n.kube.cache.List(ctx, &claims); err != nil {
		return fmt.Errorf("list IPs: %w", err)
	}
	var errs []error
	for _, p := range moved(n.ovs.Ports(plug.KeyOwner, n.owner), claims.Items) {
		if err := n.ovs.Identify(ctx, p.Name, p.IDs); err != nil {
			errs = append(errs, err)
			continue
		}
		n.log.Info("the pod's port has another id now", "name", p.Name, "port", p.IDs[plug.KeyIfaceID])
	}
	return errors.Join(errs...)
}

// moved are the interfaces of pods whose claims name another port, with what
// they must say instead. An interface that does not say which pod of that name
// it is for is left alone.
func moved(ports []netdev.Port, claims []v1.IP) []netdev.Port {
	named := map[string]v1.IPSpec{}
	for _, ip := range claims {
		named[ip.Spec.Namespace+"/"+ip.Spec.PodName] = ip.Spec
	}
	var all []netdev.Port
	for _, p := range ports {
		claim, is := named[p.IDs[plug.KeyPod]]
		if is && claim.Attach.OVS != nil && claim.PodUID != "" && claim.PodUID == string(uid(p)) && claim.Attach.OVS.IfaceID != p.IDs[plug.KeyIfaceID] {
			all = append(all, netdev.Port{Name: p.Name, IDs: map[string]string{plug.KeyIfaceID: claim.Attach.OVS.IfaceID}})
		}
	}
	return all
}
