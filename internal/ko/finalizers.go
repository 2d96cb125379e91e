package ko

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/pager"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	osv1 "github.com/isthmus-cni/isthmus/api/openstack/v1"
)

// ownKinds returns all kinds that our CRDs define.
func ownKinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		v1.GroupVersion.WithResource("subnets"), v1.GroupVersion.WithResource("vpcs"), v1.GroupVersion.WithResource("ips"),
		osv1.GroupVersion.WithResource("kuryrloadbalancers"),
	}
}

// releaseObjects removes our finalizer from every object of our own kinds. The
// controller, which usually does that, is gone, and the objects' resources in the network
// are deleted. With the finalizers, a deletion of the CRDs would never end.
// releaseObjects deletes no object, and returns nil in a cluster without our CRDs.
func (t *tool) releaseObjects(ctx context.Context) error {
	client, err := t.objects()
	if err != nil {
		return err
	}
	var errs []error
	for _, kind := range ownKinds() {
		errs = append(errs, t.releaseKind(ctx, client.Resource(kind), kind.Resource))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove finalizer %s; run this again: %w", v1.Finalizer, err)
	}
	return nil
}

func (t *tool) releaseKind(ctx context.Context, client dynamic.NamespaceableResourceInterface, kind string) error {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) })
	err := pages.EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error {
		object, ok := o.(metav1.Object)
		if !ok || !slices.Contains(object.GetFinalizers(), v1.Finalizer) {
			return nil
		}
		if err := release(ctx, client.Namespace(object.GetNamespace()), object); err != nil {
			return fmt.Errorf("%s %s: %w", kind, object.GetName(), err)
		}
		_, err := fmt.Fprintf(t.Out, "Released %s/%s.\n", kind, object.GetName())
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil // the CRD is deleted already
	}
	return err
}

// release removes our finalizer from an object. The patch has the resourceVersion that
// was read, so that no other finalizer is lost. It returns nil if the object is gone.
func release(ctx context.Context, client dynamic.ResourceInterface, o metav1.Object) error {
	others := slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(f string) bool { return f == v1.Finalizer })
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": others, "resourceVersion": o.GetResourceVersion()}})
	if err != nil {
		return err
	}
	_, err = client.Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-ko"})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
