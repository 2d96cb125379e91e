package controller

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

func (c *cluster) gatherVpc(ctx context.Context, n types.NamespacedName) (decide.VpcFacts, error) {
	f := decide.VpcFacts{Name: n.Name, NodeVpc: c.nodeVpc()}
	var err error
	if f.Vpc, err = kube.Get[v1.Vpc](ctx, c.client, n); err != nil {
		return f, err
	}
	if f.Router, err = c.router(n.Name); err != nil {
		return f, err
	}
	all, err := kube.Subnets(ctx, c.client)
	for _, s := range all {
		if s.Spec.Vpc == n.Name {
			f.Subnets = append(f.Subnets, s)
		}
	}
	return f, err
}

func (c *cluster) holdVpc(ctx context.Context, f decide.VpcFacts, told decide.VpcReport) error {
	if told.Action != decide.Hold {
		return nil
	}
	return kube.AddFinalizer(ctx, c.client, f.Vpc)
}

func (c *cluster) reportVpc(ctx context.Context, f decide.VpcFacts, told decide.VpcReport, out unit.Outcome) error {
	switch {
	case told.Action == decide.Make:
		return c.makeVpc(ctx, f)
	case told.Action == decide.Remove:
		return client.IgnoreNotFound(c.client.Delete(ctx, f.Vpc, client.Preconditions{UID: &f.Vpc.UID}))
	case told.Action == decide.Release && out.Applied:
		return kube.RemoveFinalizer(ctx, c.client, f.Vpc)
	case f.Vpc == nil:
		return nil
	}
	after := f.Vpc.DeepCopy()
	after.Status = told.Status
	after.Status.Conditions = c.reporter.conditions(f.Vpc, f.Vpc.Status.Conditions, out)
	return kube.PatchStatus(ctx, c.client, f.Vpc, after, f.Vpc.Status, after.Status)
}

// makeVpc makes the object, or gives one that the user made its label.
func (c *cluster) makeVpc(ctx context.Context, f decide.VpcFacts) error {
	labels := map[string]string{}
	if decide.External(f.Name) {
		labels[v1.LabelVpcExternal] = "true"
	}
	if f.Vpc == nil {
		return c.client.Create(ctx, &v1.Vpc{ObjectMeta: metav1.ObjectMeta{Name: f.Name, Labels: labels}})
	}
	after := f.Vpc.DeepCopy()
	for k, v := range f.Vpc.Labels {
		labels[k] = v
	}
	labels[v1.LabelVpcExternal] = "true"
	after.Labels = labels
	return c.client.Patch(ctx, after, client.MergeFrom(f.Vpc))
}
