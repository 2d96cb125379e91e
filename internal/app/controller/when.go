package controller

import (
	"maps"
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// Here is which changes matter: the less wakes, the less work.

// cameOrWent also takes an object that was replaced by one of the same name.
func cameOrWent(before, after client.Object) bool {
	return before == nil || after == nil || before.GetUID() != after.GetUID()
}

func went(_, after client.Object) bool { return after == nil }

// specChanged is for kinds whose generation counts specs.
func specChanged(before, after client.Object) bool {
	return cameOrWent(before, after) || before.GetGeneration() != after.GetGeneration() ||
		before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero()
}

// usableChanged: the spec, whether pods can be put there, or what they are told
// of it. Counts change with each pod.
func usableChanged(before, after client.Object) bool {
	if specChanged(before, after) {
		return true
	}
	b, a := before.(*v1.Subnet).Status, after.(*v1.Subnet).Status
	return b.MTU != a.MTU || meta.IsStatusConditionTrue(b.Conditions, v1.ConditionReady) != meta.IsStatusConditionTrue(a.Conditions, v1.ConditionReady)
}

func nodeChanged(before, after client.Object) bool {
	if cameOrWent(before, after) {
		return true
	}
	b, a := before.(*corev1.Node), after.(*corev1.Node)
	return b.Annotations[v1.AnnotationUnderlayMTU] != a.Annotations[v1.AnnotationUnderlayMTU] || decide.PlugKnown(b) != decide.PlugKnown(a) ||
		!slices.Equal(b.Status.Addresses, a.Status.Addresses) || plugChanged(before, after)
}

// plugChanged: how the node's pods are plugged, or what the node's own port is
// found by.
func plugChanged(before, after client.Object) bool {
	if cameOrWent(before, after) {
		return true
	}
	b, a := before.(*corev1.Node), after.(*corev1.Node)
	return decide.Nested(b) != decide.Nested(a) || decide.Nested(a) && !reflect.DeepEqual(decide.ParentPortSelectorOf(b, nil), decide.ParentPortSelectorOf(a, nil))
}

// namespaceChanged compares what the cache keeps of a namespace.
func namespaceChanged(before, after client.Object) bool {
	return cameOrWent(before, after) || before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() ||
		!maps.Equal(before.GetAnnotations(), after.GetAnnotations()) || !maps.Equal(before.GetLabels(), after.GetLabels())
}

// podChanged compares what the cache keeps of a pod.
func podChanged(before, after client.Object) bool {
	if cameOrWent(before, after) {
		return true
	}
	b, a := before.(*corev1.Pod), after.(*corev1.Pod)
	return b.Status.Phase != a.Status.Phase || b.Spec.NodeName != a.Spec.NodeName ||
		!equality.Semantic.DeepEqual(b.Annotations, a.Annotations)
}

// relabelled is about labels alone, of what stays.
func relabelled(before, after client.Object) bool {
	return before != nil && after != nil && !maps.Equal(before.GetLabels(), after.GetLabels())
}

func scaled(before, after client.Object) bool {
	if specChanged(before, after) {
		return true
	}
	b, a := before.(*appsv1.StatefulSet), after.(*appsv1.StatefulSet)
	return !equality.Semantic.DeepEqual(b.Spec, a.Spec)
}
