package ko

import (
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/api/crds"
	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/kubetest"
)

// Every kind that our CRDs define is released.
func TestOwnKinds(t *testing.T) {
	t.Parallel()
	files, err := crds.FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, f := range files {
		want = append(want, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	for _, k := range ownKinds() {
		got = append(got, k.Group+"_"+k.Resource)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%v, but the CRDs are %v", got, want)
	}
}

// The CRDs can be deleted after a cleanup, also if their deletion began before it.
// Foreign finalizers stay.
func TestReleaseObjects(t *testing.T) {
	server, err := kubetest.Start()
	if err != nil {
		t.Skipf("no API server: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Log(err)
		}
	})
	s := runtime.NewScheme()
	_, _ = v1.AddToScheme(s), apiextensions.AddToScheme(s)
	k, err := client.NewWithWatch(server.Config, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	const foreign = "example.com/foreign"
	for _, o := range []client.Object{
		&v1.Subnet{ObjectMeta: metav1.ObjectMeta{Name: "join", Finalizers: []string{v1.Finalizer}}, Spec: v1.SubnetSpec{CIDRBlock: "100.64.0.0/16"}},
		&v1.Subnet{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Finalizers: []string{foreign, v1.Finalizer}}, Spec: v1.SubnetSpec{CIDRBlock: "10.3.0.0/16"}},
		&v1.Vpc{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: []string{v1.Finalizer}}},
	} {
		if err := k.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	deleteCRDs(t, k)
	b := newTestTool()
	b.objects = func() (dynamic.Interface, error) { return dynamic.NewForConfig(server.Config) }
	if err := b.releaseObjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Released subnets/join.", "Released subnets/foreign.", "Released vpcs/a."} {
		if !strings.Contains(b.out.String(), line) {
			t.Errorf("no %q in %q", line, b.out.String())
		}
	}
	left := &v1.Subnet{}
	if err := k.Get(t.Context(), client.ObjectKey{Name: "foreign"}, left); err != nil || !slices.Equal(left.Finalizers, []string{foreign}) {
		t.Fatalf("finalizers %v, %v", left.Finalizers, err)
	}
	left.Finalizers = nil
	if err := k.Update(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	gone(t, k)
	if err := b.releaseObjects(t.Context()); err != nil {
		t.Errorf("without the CRDs: %v", err)
	}
}

func deleteCRDs(t *testing.T, k client.Client) {
	t.Helper()
	files, _ := crds.FS.ReadDir(".")
	for _, f := range files {
		text, err := crds.FS.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensions.CustomResourceDefinition{}
		if err := yaml.Unmarshal(text, crd); err != nil {
			t.Fatal(err)
		}
		if err := k.Delete(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
	}
}

// gone waits until the API server has none of the CRDs.
func gone(t *testing.T, k client.WithWatch) {
	t.Helper()
	var all apiextensions.CustomResourceDefinitionList
	if err := k.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	left := len(all.Items)
	w, err := k.Watch(t.Context(), &apiextensions.CustomResourceDefinitionList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: all.ResourceVersion}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for left > 0 {
		event, ok := <-w.ResultChan()
		if !ok {
			t.Fatalf("%d CRDs are left", left)
		}
		if event.Type == watch.Deleted {
			left--
		}
	}
}
