package kubetest

import (
	"context"
	"fmt"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/api/crds"
)

// InstallCRDs installs the project's kinds and returns when the server serves them.
func InstallCRDs(ctx context.Context, config *rest.Config) error {
	c, err := client.NewWithWatch(config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}
	files, err := fs.Glob(crds.FS, "*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := installCRD(ctx, c, file); err != nil {
			return fmt.Errorf("install %s: %w", file, err)
		}
	}
	return nil
}

func installCRD(ctx context.Context, c client.WithWatch, file string) error {
	text, err := crds.FS.ReadFile(file)
	if err != nil {
		return err
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &crd.Object); err != nil {
		return err
	}
	if err := c.Create(ctx, crd); err != nil {
		return err
	}
	return established(ctx, c, crd)
}

// established returns when the server serves the kind. A server that is just
// coming up ends watches, too.
func established(ctx context.Context, c client.WithWatch, crd *unstructured.Unstructured) error {
	for ctx.Err() == nil {
		if is, err := sawEstablished(ctx, c, crd); is || err != nil {
			return err
		}
	}
	return fmt.Errorf("not established: %w", context.Cause(ctx))
}

func sawEstablished(ctx context.Context, c client.WithWatch, crd *unstructured.Unstructured) (bool, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(crd.GroupVersionKind())
	list.SetKind("CustomResourceDefinitionList")
	w, err := c.Watch(ctx, list, client.MatchingFields{"metadata.name": crd.GetName()})
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if isEstablished(e) {
			return true, nil
		}
	}
	return false, nil
}

func isEstablished(e watch.Event) bool {
	u, ok := e.Object.(*unstructured.Unstructured)
	if !ok {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		if m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}
