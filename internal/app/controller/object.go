package controller

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// What is read from the cache is shared: everything here works on copies.

// hold puts our finalizer on o, if it is not there.
func hold(ctx context.Context, w client.Writer, o client.Object) error {
	after := o.DeepCopyObject().(client.Object)
	if !controllerutil.AddFinalizer(after, v1.Finalizer) {
		return nil
	}
	return w.Patch(ctx, after, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{}))
}

// letGo takes our finalizer off o.
func letGo(ctx context.Context, w client.Writer, o client.Object) error {
	after := o.DeepCopyObject().(client.Object)
	if !controllerutil.RemoveFinalizer(after, v1.Finalizer) {
		return nil
	}
	return client.IgnoreNotFound(w.Patch(ctx, after, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{})))
}

// patchStatus writes a status that differs.
func patchStatus(ctx context.Context, w client.StatusClient, before, after client.Object, was, is any) error {
	if equality.Semantic.DeepEqual(was, is) {
		return nil
	}
	return client.IgnoreNotFound(w.Status().Patch(ctx, after, client.MergeFrom(before)))
}

// conditions are those that o had with the outcome in, and tells of a new
// problem. A failure that is being retried takes nothing from an object that
// was ready: what it has still works.
func (c *cluster) conditions(o client.Object, had []metav1.Condition, out unit.Outcome) []metav1.Condition {
	after := slices.Clone(had)
	retried := out.State == unit.Failed || out.Reason == neutronUnread || out.Reason == neutronAway
	if retried && meta.IsStatusConditionTrue(had, v1.ConditionReady) {
		return after
	}
	if meta.SetStatusCondition(&after, out.Condition(o.GetGeneration())) {
		c.tell(o, out)
	}
	return after
}
