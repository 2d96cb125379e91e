// Package kube reads and writes Kubernetes objects for the controller: the
// scheme, what the cache keeps of each object, its indexes, typed reads, and the
// finalizer and status of our objects. It knows no units.
package kube

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
)

// NewScheme returns a scheme with the kinds of Kubernetes and our own.
func NewScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	// These only fail for a type that is registered twice.
	_ = clientgoscheme.AddToScheme(s)
	_ = v1.AddToScheme(s)
	_ = kuryr.AddToScheme(s)
	return s
}

// CacheOptions lets the cache keep only the fields that are read, so that ten
// thousand pods do not cost a gigabyte. The cache shares its objects: readers
// must not change them.
func CacheOptions() cache.Options {
	shared := true
	return cache.Options{
		DefaultTransform:             cache.TransformStripManagedFields(),
		DefaultUnsafeDisableDeepCopy: &shared,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:         {Transform: keepOfPod},
			&corev1.Node{}:        {Transform: keepOfNode},
			&appsv1.StatefulSet{}: {Transform: keepOfStatefulSet},
			&corev1.Namespace{}:   {Transform: keepOfNamespace},
		},
	}
}

func keepOfPod(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	kept := &corev1.Pod{TypeMeta: p.TypeMeta, ObjectMeta: keepOfMeta(p.ObjectMeta)}
	kept.OwnerReferences, kept.Labels = p.OwnerReferences, p.Labels
	kept.Spec.Containers = keepOfPorts(p)
	kept.Spec.NodeName, kept.Spec.HostNetwork = p.Spec.NodeName, p.Spec.HostNetwork
	kept.Status.Phase = p.Status.Phase
	return kept, nil
}

// keepOfPorts returns one container with all named ports of the pod; nil if there
// are none.
func keepOfPorts(p *corev1.Pod) []corev1.Container {
	var ports []corev1.ContainerPort
	for _, n := range policy.NamedPortsOf(p) {
		ports = append(ports, corev1.ContainerPort{Name: n.Name, Protocol: corev1.Protocol(strings.ToUpper(n.Protocol)), ContainerPort: int32(n.Number)})
	}
	if ports == nil {
		return nil
	}
	return []corev1.Container{{Ports: ports}}
}

func keepOfNode(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	kept := &corev1.Node{TypeMeta: n.TypeMeta, ObjectMeta: keepOfMeta(n.ObjectMeta)}
	kept.Spec.ProviderID = n.Spec.ProviderID
	for _, l := range []string{v1.Plug, v1.LabelPodVIF, v1.ParentPort} {
		if value, ok := n.Labels[l]; ok {
			metav1.SetMetaDataLabel(&kept.ObjectMeta, l, value)
		}
	}
	kept.Status.Addresses = n.Status.Addresses
	return kept, nil
}

func keepOfNamespace(o any) (any, error) {
	n, ok := o.(*corev1.Namespace)
	if !ok {
		return o, nil
	}
	kept := &corev1.Namespace{TypeMeta: n.TypeMeta, ObjectMeta: keepOfMeta(n.ObjectMeta)}
	kept.Labels = n.Labels
	return kept, nil
}

func keepOfStatefulSet(o any) (any, error) {
	s, ok := o.(*appsv1.StatefulSet)
	if !ok {
		return o, nil
	}
	kept := &appsv1.StatefulSet{TypeMeta: s.TypeMeta, ObjectMeta: keepOfMeta(s.ObjectMeta)}
	kept.Spec.Replicas, kept.Spec.Ordinals = s.Spec.Replicas, s.Spec.Ordinals
	return kept, nil
}

// keepOfMeta keeps the identity of an object and those annotations that are read.
func keepOfMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
	for _, name := range []string{v1.AnnotationIPAddress, v1.AnnotationMACAddress, v1.AnnotationSubnet, v1.AnnotationUnderlayMTU, v1.Plug, v1.ParentPort, v1.AnnotationMACs, policy.AnnotationSecurityGroups, policy.AnnotationAllowedSecurityGroups, decide.AnnotationProject, corev1.MirrorPodAnnotationKey} {
		if value, ok := m.Annotations[name]; ok {
			if kept.Annotations == nil {
				kept.Annotations = map[string]string{}
			}
			kept.Annotations[name] = value
		}
	}
	return kept
}
