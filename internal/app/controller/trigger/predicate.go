package trigger

import (
	"maps"
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// CreatedOrDeleted is true if an object was created, deleted, or replaced by
// another one of the same name.
func CreatedOrDeleted(before, after client.Object) bool {
	return before == nil || after == nil || before.GetUID() != after.GetUID()
}

// Deleted is true if an object was deleted.
func Deleted(_, after client.Object) bool { return after == nil }

// deletionStarted is true if the deletion of an object has begun.
func deletionStarted(before, after client.Object) bool {
	return before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero()
}

// SpecChanged is true if an object was created or deleted, or its spec has
// changed. It is for kinds whose generation counts changes of the spec.
func SpecChanged(before, after client.Object) bool {
	return CreatedOrDeleted(before, after) || before.GetGeneration() != after.GetGeneration() || deletionStarted(before, after)
}

// SubnetUsabilityChanged is true if a Subnet's spec, readiness or MTU has
// changed. It ignores the counts of addresses, which change with each pod.
func SubnetUsabilityChanged(before, after client.Object) bool {
	if SpecChanged(before, after) {
		return true
	}
	b, a := before.(*v1.Subnet).Status, after.(*v1.Subnet).Status
	return b.MTU != a.MTU || meta.IsStatusConditionTrue(b.Conditions, v1.ConditionReady) != meta.IsStatusConditionTrue(a.Conditions, v1.ConditionReady)
}

// NodeChanged is true if a Node's MTU, plug or addresses have changed. It ignores
// the kubelet's heartbeats.
func NodeChanged(before, after client.Object) bool {
	if CreatedOrDeleted(before, after) {
		return true
	}
	b, a := before.(*corev1.Node), after.(*corev1.Node)
	return b.Annotations[v1.AnnotationUnderlayMTU] != a.Annotations[v1.AnnotationUnderlayMTU] || decide.PlugKnown(b) != decide.PlugKnown(a) ||
		!slices.Equal(b.Status.Addresses, a.Status.Addresses) || PlugChanged(before, after)
}

// PlugChanged is true if a Node's plug has changed, or a property by which its
// parent port is found.
func PlugChanged(before, after client.Object) bool {
	if CreatedOrDeleted(before, after) {
		return true
	}
	b, a := before.(*corev1.Node), after.(*corev1.Node)
	return decide.Nested(b) != decide.Nested(a) || decide.Nested(a) && !reflect.DeepEqual(decide.ParentPortSelectorOf(b, nil), decide.ParentPortSelectorOf(a, nil))
}

// NamespaceChanged is true if a Namespace's labels or annotations have changed,
// or it was created or deleted. The cache keeps only the annotations that matter.
func NamespaceChanged(before, after client.Object) bool {
	return CreatedOrDeleted(before, after) || deletionStarted(before, after) ||
		!maps.Equal(before.GetAnnotations(), after.GetAnnotations()) || !maps.Equal(before.GetLabels(), after.GetLabels())
}

// PodChanged is true if a pod's phase, node or annotations have changed, or it
// was created or deleted. It ignores labels; see LabelsChanged.
func PodChanged(before, after client.Object) bool {
	if CreatedOrDeleted(before, after) {
		return true
	}
	b, a := before.(*corev1.Pod), after.(*corev1.Pod)
	return b.Status.Phase != a.Status.Phase || b.Spec.NodeName != a.Spec.NodeName ||
		!equality.Semantic.DeepEqual(b.Annotations, a.Annotations)
}

// LabelsChanged is true if the labels of an existing object have changed.
func LabelsChanged(before, after client.Object) bool {
	return before != nil && after != nil && !maps.Equal(before.GetLabels(), after.GetLabels())
}

// StatefulSetScaled is true if a StatefulSet's replicas or ordinals have changed,
// or it was created or deleted.
func StatefulSetScaled(before, after client.Object) bool {
	if SpecChanged(before, after) {
		return true
	}
	b, a := before.(*appsv1.StatefulSet), after.(*appsv1.StatefulSet)
	return !equality.Semantic.DeepEqual(b.Spec, a.Spec)
}

// ServiceChanged is true if a Service's spec or annotations have changed, or it
// was created or deleted. It ignores the status. A Service has no generation.
func ServiceChanged(before, after client.Object) bool {
	if CreatedOrDeleted(before, after) || deletionStarted(before, after) {
		return true
	}
	b, a := before.(*corev1.Service), after.(*corev1.Service)
	return !equality.Semantic.DeepEqual(b.Spec, a.Spec) || !maps.Equal(b.Annotations, a.Annotations)
}

// EndpointsChanged is true if an EndpointSlice's labels, endpoints or ports have
// changed, or it was created or deleted. It ignores annotations, such as the time
// of the last change.
func EndpointsChanged(before, after client.Object) bool {
	if CreatedOrDeleted(before, after) || deletionStarted(before, after) {
		return true
	}
	b, a := before.(*discoveryv1.EndpointSlice), after.(*discoveryv1.EndpointSlice)
	return !maps.Equal(b.Labels, a.Labels) || !equality.Semantic.DeepEqual(b.Endpoints, a.Endpoints) || !equality.Semantic.DeepEqual(b.Ports, a.Ports)
}
