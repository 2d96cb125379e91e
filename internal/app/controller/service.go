package controller

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// conditionBalanced is a Service's condition: its load balancer stands as it asks.
const conditionBalanced = "openstack.org/LoadBalancerReady"

// pending is the reason of a Wait for Octavia, which works on a load balancer.
const pending = "Pending"

// serviceFacts are decide's, and the record that there is, nil for none.
type serviceFacts struct {
	decide.ServiceFacts
	record *kuryr.KuryrLoadBalancer
}

func (c *cluster) gatherService(ctx context.Context, n types.NamespacedName) (serviceFacts, error) {
	f := serviceFacts{ServiceFacts: decide.ServiceFacts{Namespace: n.Namespace, Name: n.Name, Network: decide.ServiceNetwork}}
	var err error
	if f.record, err = kube.Get[kuryr.KuryrLoadBalancer](ctx, c.client, n); err != nil {
		return f, err
	}
	if f.Service, err = kube.Get[corev1.Service](ctx, c.client, n); f.Service == nil || err != nil {
		return f, err
	}
	if err := c.cloud.Load().Ready(); err != nil {
		return f, err // nor is it known which projects there are
	}
	if err := c.gatherEndpoints(ctx, &f.ServiceFacts); err != nil {
		return f, err
	}
	f.ExternalNetwork, f.ExternalProblem = c.external(ctx, f.Service)
	f.Project, f.ProjectProblem, err = c.projectOfBalancer(ctx, n.Namespace, f.record)
	return f, err
}

// gatherEndpoints finds who stands behind a Service, and where.
func (c *cluster) gatherEndpoints(ctx context.Context, f *decide.ServiceFacts) (err error) {
	if f.Slices, err = c.slices(ctx, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}); err != nil {
		return err
	}
	if f.EndpointNetworks, err = c.places(ctx); err != nil {
		return err
	}
	f.Nodes, err = c.nodePlaces(ctx, f.Slices)
	return err
}

// slices are a Service's, in a fixed order.
func (c *cluster) slices(ctx context.Context, n types.NamespacedName) ([]*discoveryv1.EndpointSlice, error) {
	var l discoveryv1.EndpointSliceList
	err := c.client.List(ctx, &l, client.InNamespace(n.Namespace), client.MatchingFields{kube.IndexSliceService: n.Name})
	all := kube.Pointers(l.Items)
	slices.SortFunc(all, func(a, b *discoveryv1.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// places are the networks on the router that pods are in, those of Neutron's by name.
func (c *cluster) places(ctx context.Context) ([]decide.EndpointNetwork, error) {
	all, err := kube.Subnets(ctx, c.client)
	slices.SortFunc(all, func(a, b *v1.Subnet) int { return strings.Compare(a.Name, b.Name) })
	var out []decide.EndpointNetwork
	for _, s := range all {
		prefixes, bad := decide.PrefixesOf(&s.Spec)
		if bad != nil || s.Spec.Vpc != c.nodeVpc() {
			continue
		}
		segment := ""
		if decide.FabricOf(s) == intent.FabricNeutron {
			segment = decide.NetworkName(s.Name)
		}
		for _, p := range prefixes {
			out = append(out, decide.EndpointNetwork{Network: segment, Prefix: p})
		}
	}
	return out, err
}

// nodePlaces are the addresses that nodes with endpoints have among the pods.
func (c *cluster) nodePlaces(ctx context.Context, all []*discoveryv1.EndpointSlice) (map[string][]netip.Addr, error) {
	out := map[string][]netip.Addr{}
	for _, s := range all {
		for _, e := range s.Endpoints {
			if e.NodeName == nil || out[*e.NodeName] != nil {
				continue
			}
			ip, err := kube.Get[v1.IP](ctx, c.client, types.NamespacedName{Name: decide.NodePort(*e.NodeName)})
			if err != nil {
				return nil, err
			}
			if ip != nil {
				out[*e.NodeName] = decide.Addrs(ip)
			}
		}
	}
	return out, nil
}

// external is the id of the network of floating IPs, where the Service needs it.
func (c *cluster) external(ctx context.Context, s *corev1.Service) (string, error) {
	cl := c.cloud.Load()
	if cl == nil || s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return "", nil
	}
	return cl.ExternalNetwork(ctx)
}

func decideService(f serviceFacts) intent.Decision[struct{}] { return decide.Service(f.ServiceFacts) }

// reportService writes the record, and tells the Service itself.
func (c *cluster) reportService(ctx context.Context, f serviceFacts, _ struct{}, out unit.Outcome) error {
	var seen *intent.LoadBalancerStatus
	if b := out.Observed.LoadBalancers[f.Namespace+"/"+f.Name]; b.ID != "" {
		seen = &b
	}
	record := decide.LoadBalancerRecord(f.ServiceFacts, c.settings.Neutron.LoadBalancerProvider, seen)
	if record == nil {
		return c.reportNoBalancer(ctx, f, out)
	}
	had, err := f.record, error(nil)
	if had == nil || !out.Kept { // What is kept is as its record says.
		if had, err = c.writeRecord(ctx, f.record, record, seen); err != nil {
			return err
		}
	}
	after := had.DeepCopy()
	if seen != nil {
		after.Status = decide.LoadBalancerStatus(*seen)
	}
	after.Status.Conditions = balanced(had.Status.Conditions, kuryr.ConditionReady, had.Generation, out)
	if err := kube.PatchStatus(ctx, c.client, had, after, had.Status, after.Status); err != nil {
		return err
	}
	return c.reportOnService(ctx, f.Service, seen, out)
}

// reportNoBalancer: a Service without a balancer has no record either, once the
// balancer is gone, and says nothing of one.
func (c *cluster) reportNoBalancer(ctx context.Context, f serviceFacts, out unit.Outcome) error {
	if !out.Applied {
		return nil
	}
	if f.record != nil {
		if err := client.IgnoreNotFound(c.client.Delete(ctx, f.record, client.Preconditions{UID: &f.record.UID})); err != nil {
			return err
		}
	}
	if f.Service == nil {
		return nil
	}
	after := f.Service.DeepCopy()
	meta.RemoveStatusCondition(&after.Status.Conditions, conditionBalanced)
	return kube.PatchStatus(ctx, c.client, f.Service, after, f.Service.Status, after.Status)
}

// writeRecord makes the record had into the one that is to be. What was not
// seen this time stays as it was seen last.
func (c *cluster) writeRecord(ctx context.Context, had, record *kuryr.KuryrLoadBalancer, seen *intent.LoadBalancerStatus) (*kuryr.KuryrLoadBalancer, error) {
	if had == nil {
		return record, c.client.Create(ctx, record)
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
	return after, c.client.Patch(ctx, after, client.MergeFrom(had))
}

// reportOnService gives the Service its address from outside, and a condition
// that says how its balancer is.
func (c *cluster) reportOnService(ctx context.Context, s *corev1.Service, seen *intent.LoadBalancerStatus, out unit.Outcome) error {
	after := s.DeepCopy()
	after.Status.Conditions = balanced(s.Status.Conditions, conditionBalanced, s.Generation, out)
	if !equality.Semantic.DeepEqual(s.Status.Conditions, after.Status.Conditions) && !busy(out) {
		c.reporter.problem(s, out)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && seen != nil && out.Applied {
		after.Status.LoadBalancer.Ingress = nil
		if seen.FloatingIP != nil {
			mode := corev1.LoadBalancerIPModeVIP
			after.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: seen.FloatingIP.Addr.String(), IPMode: &mode}}
		}
	}
	return kube.PatchStatus(ctx, c.client, s, after, s.Status, after.Status)
}

// busy tells whether the outcome says only that the work goes on.
func busy(out unit.Outcome) bool {
	return out.State == unit.Waiting && (out.Reason == pending || out.Reason == cloud.SubnetNotReady)
}

// balanced are the conditions with the outcome in. Work that goes on, or is
// tried again, takes nothing from a balancer that stands.
func balanced(had []metav1.Condition, kind string, generation int64, out unit.Outcome) []metav1.Condition {
	after := slices.Clone(had)
	if (busy(out) || out.State == unit.Failed) && meta.IsStatusConditionTrue(had, kind) {
		return after
	}
	one := out.Condition(generation)
	one.Type = kind
	meta.SetStatusCondition(&after, one)
	return after
}
