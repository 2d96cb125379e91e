package controller

import (
	"context"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// vpcUnit gathers and reports Vpcs.
type vpcUnit struct {
	client   client.Client
	reporter report.Reporter
	topology topology.Topology
}

func (v vpcUnit) gather(ctx context.Context, n types.NamespacedName) (decide.VpcFacts, error) {
	f := decide.VpcFacts{Name: n.Name, NodeVpc: v.topology.NodeVpc()}
	var err error
	if f.Vpc, err = kube.Get[v1.Vpc](ctx, v.client, n); err != nil {
		return f, err
	}
	if f.Router, err = v.topology.Router(n.Name); err != nil {
		return f, err
	}
	all, err := kube.Subnets(ctx, v.client)
	for _, s := range all {
		if s.Spec.Vpc == n.Name {
			f.Subnets = append(f.Subnets, s)
		}
	}
	return f, err
}

// hold adds the finalizer to the Vpc before it has anything in the network.
func (v vpcUnit) hold(ctx context.Context, f decide.VpcFacts, r decide.VpcReport) error {
	if r.Action != decide.Hold {
		return nil
	}
	return kube.AddFinalizer(ctx, v.client, f.Vpc)
}

func (v vpcUnit) report(ctx context.Context, f decide.VpcFacts, r decide.VpcReport, out unit.Outcome) error {
	switch {
	case r.Action == decide.Make:
		return v.create(ctx, f)
	case r.Action == decide.Remove:
		return client.IgnoreNotFound(v.client.Delete(ctx, f.Vpc, client.Preconditions{UID: &f.Vpc.UID}))
	case r.Action == decide.Release && out.Applied:
		return kube.RemoveFinalizer(ctx, v.client, f.Vpc)
	case f.Vpc == nil:
		return nil
	}
	after := f.Vpc.DeepCopy()
	after.Status = r.Status
	after.Status.Conditions = v.reporter.Conditions(f.Vpc, f.Vpc.Status.Conditions, out)
	return kube.PatchStatus(ctx, v.client, f.Vpc, after)
}

// create creates the object, or adds our label to one that the user has created.
func (v vpcUnit) create(ctx context.Context, f decide.VpcFacts) error {
	labels := map[string]string{}
	if decide.External(f.Name) {
		labels[v1.LabelVpcExternal] = "true"
	}
	if f.Vpc == nil {
		return v.client.Create(ctx, &v1.Vpc{ObjectMeta: metav1.ObjectMeta{Name: f.Name, Labels: labels}})
	}
	after := f.Vpc.DeepCopy()
	maps.Copy(labels, f.Vpc.Labels)
	labels[v1.LabelVpcExternal] = "true"
	after.Labels = labels
	return v.client.Patch(ctx, after, client.MergeFrom(f.Vpc))
}
