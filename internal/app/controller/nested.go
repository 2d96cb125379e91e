package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
)

// gatherPlug reads how a pod is plugged on its node.
func (c podUnit) gatherPlug(ctx context.Context, f *pod.Facts) error {
	if f.Pod.Spec.NodeName == "" {
		var nodes corev1.NodeList
		err := c.client.List(ctx, &nodes, client.MatchingFields{kube.IndexNested: "true"}, client.Limit(1))
		f.SomeNested = len(nodes.Items) > 0
		return err
	}
	n, err := kube.Get[corev1.Node](ctx, c.client, types.NamespacedName{Name: f.Pod.Spec.NodeName})
	if err != nil {
		return err
	}
	f.OnNode, f.Nested = n != nil, decide.Nested(n)
	if selector := decide.ParentPortSelectorOf(n, f.Claim); f.Nested || selector.MAC != "" {
		f.Parent, err = c.Parent(selector)
	}
	return err
}
