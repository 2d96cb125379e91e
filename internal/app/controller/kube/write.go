package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
)

// The cache shares its objects, so the functions here change copies.

// AddFinalizer adds our finalizer to o. It writes nothing if o has it.
func AddFinalizer(ctx context.Context, w client.Writer, o client.Object) error {
	after := o.DeepCopyObject().(client.Object)
	if !controllerutil.AddFinalizer(after, v1.Finalizer) {
		return nil
	}
	return w.Patch(ctx, after, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{}))
}

// RemoveFinalizer removes our finalizer from o. It is no error if o does not
// exist.
func RemoveFinalizer(ctx context.Context, w client.Writer, o client.Object) error {
	after := o.DeepCopyObject().(client.Object)
	if !controllerutil.RemoveFinalizer(after, v1.Finalizer) {
		return nil
	}
	return client.IgnoreNotFound(w.Patch(ctx, after, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{})))
}

// PatchStatus changes the status of before to that of after. They must not differ
// in anything else. It writes nothing if both are equal.
func PatchStatus(ctx context.Context, w client.StatusClient, before, after client.Object) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	return client.IgnoreNotFound(w.Status().Patch(ctx, after, client.MergeFrom(before)))
}
