package controller

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
)

// indexService finds the EndpointSlices of a Service.
const indexService = "service"

func (c *cluster) wakesService() []wake {
	return []wake{
		{of: &corev1.Service{}, to: itself, when: serviceChanged},
		{of: &discoveryv1.EndpointSlice{}, to: serviceOfSlice, when: endpointsChanged},
		// One that was there at the start may be of a Service that went meanwhile.
		{of: &kuryr.KuryrLoadBalancer{}, to: itself, when: cameOrWent},
		{of: &v1.Subnet{}, to: c.everyService, when: usableChanged},
		{of: &corev1.Namespace{}, to: c.servicesIn, when: namespaceChanged},
		// Pods on their node's network are reached at the node's address.
		{of: &v1.IP{}, to: c.servicesIfNode, when: cameOrWent},
	}
}

// serviceChanged leaves out the status: a Service has no generation.
func serviceChanged(before, after client.Object) bool {
	if cameOrWent(before, after) || before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() {
		return true
	}
	b, a := before.(*corev1.Service), after.(*corev1.Service)
	return !equality.Semantic.DeepEqual(b.Spec, a.Spec) || !maps.Equal(b.Annotations, a.Annotations)
}

// endpointsChanged leaves out annotations, such as that of the last change.
func endpointsChanged(before, after client.Object) bool {
	if cameOrWent(before, after) || before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() {
		return true
	}
	b, a := before.(*discoveryv1.EndpointSlice), after.(*discoveryv1.EndpointSlice)
	return !maps.Equal(b.Labels, a.Labels) || !equality.Semantic.DeepEqual(b.Endpoints, a.Endpoints) || !equality.Semantic.DeepEqual(b.Ports, a.Ports)
}

func serviceOfSlice(_ context.Context, o client.Object) []types.NamespacedName {
	if n := nameOfService(o); n != "" {
		return []types.NamespacedName{{Namespace: o.GetNamespace(), Name: n}}
	}
	return nil
}

func nameOfService(o client.Object) string { return o.GetLabels()[discoveryv1.LabelServiceName] }

func (c *cluster) everyService(ctx context.Context, _ client.Object) []types.NamespacedName {
	return c.servicesThat(ctx)
}

func (c *cluster) servicesIn(ctx context.Context, o client.Object) []types.NamespacedName {
	return c.servicesThat(ctx, client.InNamespace(o.GetName()))
}

func (c *cluster) servicesThat(ctx context.Context, which ...client.ListOption) []types.NamespacedName {
	var all corev1.ServiceList
	_ = c.client.List(ctx, &all, which...)
	var out []types.NamespacedName
	for i := range all.Items {
		out = append(out, client.ObjectKeyFromObject(&all.Items[i]))
	}
	return out
}

func (c *cluster) servicesIfNode(ctx context.Context, o client.Object) []types.NamespacedName {
	if nodeOfIP(ctx, o) == nil {
		return nil
	}
	return c.everyService(ctx, o)
}
