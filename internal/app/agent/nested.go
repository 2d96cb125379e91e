package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// nestedPod is a pod that is plugged on the node's trunk: its host link, and its claim.
type nestedPod struct {
	link  netdev.Link
	claim v1.IP
}

// nestedPods are those that have a claim, sorted. Of a pod's sandboxes the last
// one counts: the runtime has given the others up.
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

// nestedProbes are the host links of all pods: no other way leads from a virtual
// machine to them.
func nestedProbes(pods []nestedPod) []nodenet.Probe {
	var all []nodenet.Probe
	for _, p := range pods {
		addrs, err := addrsOf(p.claim.Spec)
		if err != nil {
			continue // the pod was not plugged with that either
		}
		for _, a := range addrs {
			if a.Addr().Is4() {
				all = append(all, nodenet.Probe{Pod: p.claim.Spec.Namespace + "/" + p.claim.Spec.PodName, Addr: a.Addr(), Link: p.link.Name})
			}
		}
	}
	return all
}

// retagged are the pods whose claims name another VLAN or trunk than they have.
func retagged(pods []nestedPod) []nestedPod {
	return slices.DeleteFunc(slices.Clone(pods), func(p nestedPod) bool { return p.vlan() == p.link.Mark.VLAN })
}

// vlan is what the mark is to say.
func (p nestedPod) vlan() string {
	port, err := portOf(&p.claim, cniwire.Attachment{})
	if err != nil {
		return p.link.Mark.VLAN // such a claim moves nothing
	}
	return port.VLAN()
}

// nested reads which pods are on the trunk.
func (n *node) nested(ctx context.Context) ([]nestedPod, error) {
	var claims v1.IPList
	if err := n.kube.cache.List(ctx, &claims); err != nil {
		return nil, fmt.Errorf("list IPs: %w", err)
	}
	links, err := n.machine.Links()
	return nestedPods(links, claims.Items), err
}

// turn is how long a request for a pod may keep its VLAN from being moved.
const turn = 5 * time.Second

// followTags moves running pods to the VLANs that their claims name now: one that
// Neutron gave to somebody else on the same trunk makes ours give way, and the
// node's port may be another one.
func (n *node) followTags(ctx context.Context) error {
	pods, err := n.nested(ctx)
	errs := []error{err}
	for _, p := range retagged(pods) {
		errs = append(errs, n.retag(ctx, p))
	}
	return errors.Join(errs...)
}

func (n *node) retag(ctx context.Context, p nestedPod) error {
	ctx, cancel := context.WithTimeout(ctx, turn)
	defer cancel()
	free, err := n.pods.busy.one(ctx, p.link.Mark.Container)
	if err != nil {
		return err
	}
	defer free()
	if err := n.trunk.retag(ctx, p); err != nil {
		return err
	}
	n.log.Info("the pod has another VLAN now", "pod", p.link.Mark.Pod, "was", p.link.Mark.VLAN, "is", p.vlan())
	return nil
}
