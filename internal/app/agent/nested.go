package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/agent/claim"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// nestedPod is a pod that is plugged into the node's trunk: its host link and its claim.
type nestedPod struct {
	link  netdev.Link
	claim v1.IP
}

// nestedPods returns the pods that have a claim and a host link, sorted by link. If a
// pod has several sandboxes, the newest counts: the runtime has abandoned the others.
func nestedPods(links []netdev.Link, claims []v1.IP) []nestedPod {
	last := map[string]netdev.Link{}
	for _, l := range links {
		isHost := l.Name == plug.HostLinkName(l.Mark.Container, l.Mark.Link)
		if have, twice := last[l.Mark.UID]; isHost && (!twice || l.Index > have.Index) {
			last[l.Mark.UID] = l
		}
	}
	var all []nestedPod
	for _, ip := range claims {
		if l, is := last[ip.Spec.PodUID]; is && ip.Spec.PodUID != "" && ip.Spec.Attach.VLAN != nil {
			all = append(all, nestedPod{l, ip})
		}
	}
	slices.SortFunc(all, func(a, b nestedPod) int { return strings.Compare(a.link.Name, b.link.Name) })
	return all
}

// nestedProbes returns the host links of all pods: a virtual machine reaches its pods
// over these links only.
func nestedProbes(pods []nestedPod) []nodenet.Probe {
	var all []nodenet.Probe
	for _, p := range pods {
		addrs, err := claim.Addrs(p.claim.Spec)
		if err != nil {
			continue // no pod can be plugged with such a claim
		}
		for _, a := range addrs {
			if a.Addr().Is4() {
				all = append(all, nodenet.Probe{Pod: p.claim.Spec.Namespace + "/" + p.claim.Spec.PodName, Addr: a.Addr(), Link: p.link.Name})
			}
		}
	}
	return all
}

// retagged returns the pods whose claims name another VLAN or trunk than their links.
func retagged(pods []nestedPod) []nestedPod {
	return slices.DeleteFunc(slices.Clone(pods), func(p nestedPod) bool { return p.vlan() == p.link.Mark.VLAN })
}

// vlan returns the VLAN and trunk of the claim, in the form of a link's mark. For an
// invalid claim it returns the mark's own, so that the pod is not moved.
func (p nestedPod) vlan() string {
	port, err := claim.Port(&p.claim, cniwire.Attachment{})
	if err != nil {
		return p.link.Mark.VLAN
	}
	return port.VLAN()
}

// nested returns the pods that are plugged into the trunk.
func (n *node) nested(ctx context.Context) ([]nestedPod, error) {
	var claims v1.IPList
	if err := n.kube.cache.List(ctx, &claims); err != nil {
		return nil, fmt.Errorf("list IPs: %w", err)
	}
	links, err := n.machine.Links()
	return nestedPods(links, claims.Items), err
}

// retagTimeout bounds how long retag waits for a CNI request for the same pod.
const retagTimeout = 5 * time.Second

// retagPods moves running pods to the VLANs that their claims name now. A claim gets
// another VLAN if Neutron has given its VLAN to another subport of the trunk, or if the
// node has another parent port.
func (n *node) retagPods(ctx context.Context) error {
	pods, err := n.nested(ctx)
	errs := []error{err}
	for _, p := range retagged(pods) {
		errs = append(errs, n.retag(ctx, p))
	}
	return errors.Join(errs...)
}

func (n *node) retag(ctx context.Context, p nestedPod) error {
	ctx, cancel := context.WithTimeout(ctx, retagTimeout)
	defer cancel()
	unlock, err := n.plugger.locks.lock(ctx, p.link.Mark.Container)
	if err != nil {
		return err
	}
	defer unlock()
	if err := n.trunk.retag(ctx, p); err != nil {
		return err
	}
	n.log.Info("pod moved to another VLAN", "pod", p.link.Mark.Pod, "from", p.link.Mark.VLAN, "to", p.vlan())
	return nil
}
