package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// gatherPlug finds how a pod is plugged where it runs.
func (c *cluster) gatherPlug(ctx context.Context, f *decide.PodFacts) error {
	if f.Pod.Spec.NodeName == "" {
		var one corev1.NodeList
		err := c.client.List(ctx, &one, client.MatchingFields{kube.IndexNested: "true"}, client.Limit(1))
		f.SomeNested = len(one.Items) > 0
		return err
	}
	n, err := kube.Get[corev1.Node](ctx, c.client, types.NamespacedName{Name: f.Pod.Spec.NodeName})
	if err != nil {
		return err
	}
	f.OnNode, f.Nested = n != nil, decide.Nested(n)
	if clues := decide.ParentPortSelectorOf(n, f.Claim); f.Nested || clues.MAC != "" {
		f.Parent, err = c.parent(clues)
	}
	return err
}

// parent is a node's own port, nil if there is none. Neutron has written it down
// in OVN, so Neutron itself is not asked. Where OVN cannot be seen now, that is
// an error: that a port is not to be found would then mean nothing.
func (c *cluster) parent(clues decide.ParentPortSelector) (*decide.ParentPort, error) {
	f := c.fabric.Load()
	var ports []decide.ParentCandidate
	for _, p := range f.Hosts(clues.Words()...) {
		ports = append(ports, decide.ParentCandidate(p))
	}
	if !f.Connected() {
		return nil, fmt.Errorf("OVN's northbound database %v cannot be reached", c.settings.NBAddresses)
	}
	return clues.Parent(ports), nil
}

// hostChanged wakes the nodes, with their pods, that a word leads to: all
// virtual machines if it is empty.
func (c *cluster) hostChanged(ctx context.Context, word string, q *trigger.Queues) {
	by := client.MatchingFields{kube.IndexParentPort: word}
	if word == "" {
		by = client.MatchingFields{kube.IndexNested: "true"}
	}
	var nodes corev1.NodeList
	_ = c.client.List(ctx, &nodes, by)
	for i := range nodes.Items {
		q.Add(decide.NodeUnit(nodes.Items[i].Name))
		for _, n := range c.maps().PodsOnNode(ctx, &nodes.Items[i]) {
			q.Add(decide.PodUnit(n.Namespace, n.Name))
		}
	}
}

// portUp is what OVN says of a port of Neutron's.
func (c *cluster) portUp(port string) (up, known bool) {
	if f := c.fabric.Load(); f != nil {
		return f.PortUp(port)
	}
	return false, false
}

// rose hears of OVN that a port of Neutron's has come up.
func (c *cluster) rose(port string) {
	if cl := c.cloud.Load(); cl != nil {
		cl.Rose(port)
	}
}
