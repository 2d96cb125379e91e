// Package services gathers and reports Services: load balancers in Octavia, and
// their records. internal/decide/service decides what they ask for. Read
// service.go first.
package services

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/service"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// conditionLoadBalancerReady is the Service's condition that its load balancer is
// as the Service asks.
const conditionLoadBalancerReady = "openstack.org/LoadBalancerReady"

// pending is the reason of a Wait while Octavia works on a load balancer.
const pending = "Pending"

// Unit gathers and reports Services: load balancers in Octavia, and their
// records, which are KuryrLoadBalancers.
type Unit struct {
	Client   client.Client
	Reporter report.Reporter
	Settings settings.Neutron
	Cloud    *cloud.Cloud
	Projects topology.Projects
	Members  Members
}

// Gather reads the Service, its endpoints and its record.
func (u Unit) Gather(ctx context.Context, n types.NamespacedName) (service.Facts, error) {
	f := service.Facts{Namespace: n.Namespace, Name: n.Name, Network: decide.ServiceNetwork}
	var err error
	if f.Record, err = kube.Get[kuryr.KuryrLoadBalancer](ctx, u.Client, n); err != nil {
		return f, err
	}
	if f.Service, err = kube.Get[corev1.Service](ctx, u.Client, n); f.Service == nil || err != nil {
		return f, err
	}
	if err := u.Cloud.Ready(); err != nil {
		return f, err
	}
	if err := u.Members.Gather(ctx, &f); err != nil {
		return f, err
	}
	if f.Service.Spec.Type == corev1.ServiceTypeLoadBalancer {
		f.ExternalNetwork, f.ExternalProblem = u.Cloud.ExternalNetwork(ctx)
	}
	f.Project, f.ProjectProblem, err = u.project(ctx, n.Namespace, f.Record)
	return f, err
}

// project returns the id of the load balancer's project, or the problem with it.
// An existing load balancer keeps its project, because it cannot move.
func (u Unit) project(ctx context.Context, namespace string, record *kuryr.KuryrLoadBalancer) (id string, problem, err error) {
	if record != nil && record.Status.LoadBalancer != nil && record.Status.LoadBalancer.ProjectID != "" {
		return record.Status.LoadBalancer.ProjectID, nil, nil
	}
	ns, err := kube.Namespace(ctx, u.Client, namespace)
	if err != nil {
		return "", nil, err
	}
	id, problem = u.Projects.Of(ctx, namespace, ns)
	return id, problem, nil
}

// Report writes the record, and the Service's own status.
func (u Unit) Report(ctx context.Context, f service.Facts, _ struct{}, out unit.Outcome) error {
	var seen *intent.LoadBalancerStatus
	if b := out.Observed.LoadBalancers[f.Namespace+"/"+f.Name]; b.ID != "" {
		seen = &b
	}
	record := service.Record(f, u.Settings.LoadBalancerProvider, seen)
	if record == nil {
		return u.deleteRecord(ctx, f, out)
	}
	had, err := f.Record, error(nil)
	if had == nil || !out.Kept { // The record of a load balancer that is kept is current.
		if had, err = u.writeRecord(ctx, f.Record, record, seen); err != nil {
			return err
		}
	}
	after := had.DeepCopy()
	if seen != nil {
		after.Status = service.RecordStatus(*seen)
	}
	after.Status.Conditions = loadBalancerConditions(had.Status.Conditions, kuryr.ConditionReady, had.Generation, out)
	if err := kube.PatchStatus(ctx, u.Client, had, after); err != nil {
		return err
	}
	return u.reportOnService(ctx, f.Service, seen, out)
}

// deleteRecord deletes the record of a load balancer that no longer exists, and
// the Service's condition.
func (u Unit) deleteRecord(ctx context.Context, f service.Facts, out unit.Outcome) error {
	if !out.Applied {
		return nil
	}
	if f.Record != nil {
		if err := client.IgnoreNotFound(u.Client.Delete(ctx, f.Record, client.Preconditions{UID: &f.Record.UID})); err != nil {
			return err
		}
	}
	if f.Service == nil {
		return nil
	}
	after := f.Service.DeepCopy()
	meta.RemoveStatusCondition(&after.Status.Conditions, conditionLoadBalancerReady)
	return kube.PatchStatus(ctx, u.Client, f.Service, after)
}

// writeRecord creates or updates the record and returns it. If the load balancer
// was not observed this time, the values observed last stay.
func (u Unit) writeRecord(ctx context.Context, had, record *kuryr.KuryrLoadBalancer, seen *intent.LoadBalancerStatus) (*kuryr.KuryrLoadBalancer, error) {
	if had == nil {
		return record, u.Client.Create(ctx, record)
	}
	if seen == nil {
		record.Spec.ProjectID = cmp.Or(record.Spec.ProjectID, had.Spec.ProjectID)
		record.Spec.SubnetID = had.Spec.SubnetID
	}
	after := had.DeepCopy()
	after.Spec, after.OwnerReferences = record.Spec, record.OwnerReferences
	if equality.Semantic.DeepEqual(had, after) {
		return had, nil
	}
	return after, u.Client.Patch(ctx, after, client.MergeFrom(had))
}

// reportOnService writes the Service's ingress address and condition.
func (u Unit) reportOnService(ctx context.Context, s *corev1.Service, seen *intent.LoadBalancerStatus, out unit.Outcome) error {
	after := s.DeepCopy()
	after.Status.Conditions = loadBalancerConditions(s.Status.Conditions, conditionLoadBalancerReady, s.Generation, out)
	if !equality.Semantic.DeepEqual(s.Status.Conditions, after.Status.Conditions) && !inProgress(out) {
		u.Reporter.Problem(s, out)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && seen != nil && out.Applied {
		after.Status.LoadBalancer.Ingress = nil
		if seen.FloatingIP != nil {
			mode := corev1.LoadBalancerIPModeVIP
			after.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: seen.FloatingIP.Addr.String(), IPMode: &mode}}
		}
	}
	return kube.PatchStatus(ctx, u.Client, s, after)
}

// inProgress tells whether the outcome only means that Octavia or Neutron is still
// working.
func inProgress(out unit.Outcome) bool {
	return out.State == unit.Waiting && (out.Reason == pending || out.Reason == cloud.SubnetNotReady)
}

// loadBalancerConditions returns had with the outcome in it. While Octavia works
// or a failure is retried, a load balancer that was ready stays ready.
func loadBalancerConditions(had []metav1.Condition, kind string, generation int64, out unit.Outcome) []metav1.Condition {
	after := slices.Clone(had)
	if (inProgress(out) || out.State == unit.Failed) && meta.IsStatusConditionTrue(had, kind) {
		return after
	}
	one := out.Condition(generation)
	one.Type = kind
	meta.SetStatusCondition(&after, one)
	return after
}
