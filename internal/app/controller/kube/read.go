package kube

import (
	"context"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
)

// Get reads an object. It returns nil without an error if there is none of that
// name. Do not change the result: the cache shares it.
func Get[T any, P interface {
	*T
	client.Object
}](ctx context.Context, r client.Reader, n types.NamespacedName) (P, error) {
	o := P(new(T))
	err := r.Get(ctx, n, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// list reads objects into l, and returns pointers to its items.
func list[T any](ctx context.Context, r client.Reader, l client.ObjectList, items *[]T, opts []client.ListOption) ([]*T, error) {
	if err := r.List(ctx, l, opts...); err != nil {
		return nil, err
	}
	return Pointers(*items), nil
}

// Pointers returns pointers to the items.
func Pointers[T any](items []T) []*T {
	out := make([]*T, 0, len(items))
	for i := range items {
		out = append(out, &items[i])
	}
	return out
}

// Subnets reads all Subnets.
func Subnets(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*v1.Subnet, error) {
	var l v1.SubnetList
	return list(ctx, r, &l, &l.Items, opts)
}

// Vpcs reads all Vpcs.
func Vpcs(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*v1.Vpc, error) {
	var l v1.VpcList
	return list(ctx, r, &l, &l.Items, opts)
}

// IPs reads the claims that opts select.
func IPs(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*v1.IP, error) {
	var l v1.IPList
	return list(ctx, r, &l, &l.Items, opts)
}

// Nodes reads the nodes that opts select.
func Nodes(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*corev1.Node, error) {
	var l corev1.NodeList
	return list(ctx, r, &l, &l.Items, opts)
}

// Pods reads the pods that opts select.
func Pods(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*corev1.Pod, error) {
	var l corev1.PodList
	return list(ctx, r, &l, &l.Items, opts)
}

// Namespaces reads all namespaces.
func Namespaces(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*corev1.Namespace, error) {
	var l corev1.NamespaceList
	return list(ctx, r, &l, &l.Items, opts)
}

// Services reads the Services that opts select.
func Services(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*corev1.Service, error) {
	var l corev1.ServiceList
	return list(ctx, r, &l, &l.Items, opts)
}

// ServiceCIDRs reads all ServiceCIDRs.
func ServiceCIDRs(ctx context.Context, r client.Reader, opts ...client.ListOption) ([]*networkingv1.ServiceCIDR, error) {
	var l networkingv1.ServiceCIDRList
	return list(ctx, r, &l, &l.Items, opts)
}

// Namespace reads a namespace. It returns nil without an error if there is none
// of that name.
func Namespace(ctx context.Context, r client.Reader, name string) (*corev1.Namespace, error) {
	return Get[corev1.Namespace](ctx, r, types.NamespacedName{Name: name})
}

// SplitOrdinal splits the name of a StatefulSet's pod, "web-0", into the set's
// name and the ordinal. ok is false if the name has no ordinal.
func SplitOrdinal(pod string) (set string, n int32, ok bool) {
	i := strings.LastIndexByte(pod, '-')
	if i < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseInt(pod[i+1:], 10, 32)
	return pod[:i], int32(number), err == nil
}
