package kube

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
)

// Indexes of the cache, for client.MatchingFields.
const (
	// IndexPodNode finds pods by the node that they are bound to.
	IndexPodNode = "node"
	// IndexClaimMAC finds claims by their MAC address.
	IndexClaimMAC = "mac"
	// IndexClaimAddr finds claims by their IP addresses.
	IndexClaimAddr = "addr"
	// IndexStatefulSetClaim finds claims of StatefulSets' pods by namespace.
	IndexStatefulSetClaim = "statefulset-claim"
	// IndexParentPort finds nested nodes by the keys of their ParentPortSelector.
	IndexParentPort = "parent-port"
	// IndexNested finds nested nodes, by the value "true".
	IndexNested = "nested"
	// IndexSliceService finds EndpointSlices by their Service's name.
	IndexSliceService = "service"
)

// AddIndexes declares the indexes. Those that only load balancers need are
// optional. Call it before the cache starts.
func AddIndexes(ctx context.Context, x client.FieldIndexer, loadBalancers bool) error {
	err := errors.Join(
		x.IndexField(ctx, &corev1.Pod{}, IndexPodNode, singleValue(func(o client.Object) string { return o.(*corev1.Pod).Spec.NodeName })),
		x.IndexField(ctx, &v1.IP{}, IndexClaimMAC, singleValue(func(o client.Object) string { return o.(*v1.IP).Spec.MacAddress })),
		x.IndexField(ctx, &v1.IP{}, IndexStatefulSetClaim, singleValue(statefulSetNamespace)),
		x.IndexField(ctx, &corev1.Node{}, IndexParentPort, parentPortKeys),
		x.IndexField(ctx, &corev1.Node{}, IndexNested, singleValue(nested)),
	)
	if err != nil || !loadBalancers {
		return err
	}
	return errors.Join(
		x.IndexField(ctx, &discoveryv1.EndpointSlice{}, IndexSliceService, singleValue(ServiceName)),
		x.IndexField(ctx, &v1.IP{}, IndexClaimAddr, addrsOfIP),
	)
}

// singleValue returns an indexer with at most one value. It leaves out an empty
// value.
func singleValue(key func(client.Object) string) client.IndexerFunc {
	return func(o client.Object) []string {
		if k := key(o); k != "" {
			return []string{k}
		}
		return nil
	}
}

// ServiceName returns the name of an EndpointSlice's Service; empty if it has
// none.
func ServiceName(o client.Object) string { return o.GetLabels()[discoveryv1.LabelServiceName] }

func addrsOfIP(o client.Object) []string {
	var out []string
	for _, a := range decide.Addrs(o.(*v1.IP)) {
		out = append(out, a.String())
	}
	return out
}

func statefulSetNamespace(o client.Object) string {
	if ip := o.(*v1.IP); ip.Spec.PodType == pod.StatefulSet {
		return ip.Spec.Namespace
	}
	return ""
}

// parentPortKeys leaves out nodes that are not nested, because they have no
// parent port.
func parentPortKeys(o client.Object) []string {
	if n := o.(*corev1.Node); decide.Nested(n) {
		return decide.ParentPortSelectorOf(n, nil).Keys()
	}
	return nil
}

func nested(o client.Object) string {
	if decide.Nested(o.(*corev1.Node)) {
		return "true"
	}
	return ""
}
