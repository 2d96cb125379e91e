package controller

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/claim"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/policies"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// podUnit gathers and reports pods.
type podUnit struct {
	topology.Topology
	client      client.Client
	reporter    report.Reporter
	claims      *claim.Claims
	projects    topology.Projects
	policies    *policies.Index
	waitingPods *waitingPods
	// perNamespace is nil if no namespace has a Subnet of its own.
	perNamespace *decide.PerNamespace
}

func (c podUnit) gather(ctx context.Context, n types.NamespacedName) (pod.Facts, error) {
	f := pod.Facts{Namespace: n.Namespace, Name: n.Name, ClaimFacts: pod.ClaimFacts{Leases: c.claims.Leases()}}
	var err error
	if f.Pod, err = kube.Get[corev1.Pod](ctx, c.client, n); err != nil {
		return f, err
	}
	if f.Claim, err = kube.Get[v1.IP](ctx, c.client, types.NamespacedName{Name: decide.PodPort(n.Namespace, n.Name)}); err != nil {
		return f, err
	}
	if f.Kept, err = c.kept(ctx, f.Claim); err != nil || f.Pod == nil {
		return f, err
	}
	if err := c.gatherPlug(ctx, &f); err != nil {
		return f, err
	}
	if f.SameMAC, err = c.sameMAC(ctx, f.Pod); err != nil {
		return f, err
	}
	if f.Subnets, err = kube.Subnets(ctx, c.client); err != nil {
		return f, err
	}
	f.NodeVpc = c.NodeVpc()
	ns, err := kube.Namespace(ctx, c.client, n.Namespace)
	if err != nil {
		return f, err
	}
	// If the namespace has not been read yet, the pod waits for the namespace's
	// own Subnet.
	f.OwnSubnet = c.perNamespace != nil && ns == nil || c.perNamespace.Has(ns, f.Subnets)
	f.Project, f.ProjectProblem = c.projects.Of(ctx, n.Namespace, ns)
	if err := c.gatherGroups(ctx, &f); err != nil {
		return f, err
	}
	f.Vpcs, err = kube.Vpcs(ctx, c.client)
	return f, err
}

// kept tells whether the StatefulSet of a claim still wants a pod of that name.
func (c podUnit) kept(ctx context.Context, ip *v1.IP) (bool, error) {
	if ip == nil || ip.Spec.PodType != pod.StatefulSet {
		return false, nil
	}
	set, n, ok := kube.SplitOrdinal(ip.Spec.PodName)
	if !ok {
		return false, nil
	}
	s, err := kube.Get[appsv1.StatefulSet](ctx, c.client, types.NamespacedName{Namespace: ip.Spec.Namespace, Name: set})
	if s == nil || err != nil || !s.DeletionTimestamp.IsZero() {
		return false, err
	}
	start, replicas := int32(0), int32(1)
	if s.Spec.Ordinals != nil {
		start = s.Spec.Ordinals.Start
	}
	if s.Spec.Replicas != nil {
		replicas = *s.Spec.Replicas
	}
	return start <= n && n < start+replicas, nil
}

func (c podUnit) sameMAC(ctx context.Context, p *corev1.Pod) ([]*v1.IP, error) {
	mac := strings.ToLower(p.Annotations[v1.AnnotationMACAddress])
	if mac == "" {
		return nil, nil
	}
	var l v1.IPList
	err := c.client.List(ctx, &l, client.MatchingFields{kube.IndexClaimMAC: mac})
	return kube.Pointers(l.Items), err
}

// gatherGroups reads what decides a pod's security groups. While it is not known
// whether a group that the pod asks for exists, a running pod keeps the groups
// that it has.
func (c podUnit) gatherGroups(ctx context.Context, f *pod.Facts) error {
	cl := c.Cloud
	if cl == nil {
		return nil
	}
	if err := cl.Ready(); err != nil {
		if f.Claim != nil && decide.FabricOfIP(f.Claim) == intent.FabricNeutron {
			return err
		}
		return nil // ProjectProblem says that Neutron is not ready
	}
	if err := c.gatherPolicies(ctx, f); err != nil {
		return err
	}
	var err error
	f.Standard = cl.StandardGroups()
	f.CloudGroups, err = cl.GroupIDs(ctx, policy.GroupsAsked(f.Pod))
	if f.Claim == nil {
		return nil // a new pod waits for the groups that are not known
	}
	return err
}

func (c podUnit) gatherPolicies(ctx context.Context, f *pod.Facts) (err error) {
	if f.Policies, err = c.policies.Read(ctx, c.client); err != nil {
		return err
	}
	f.InNamespace, err = kube.Get[corev1.Namespace](ctx, c.client, types.NamespacedName{Name: f.Namespace})
	if f.InNamespace == nil && err == nil {
		return intent.Wait{Reason: "UnknownNamespace", For: "Namespace " + f.Namespace + " to be seen"}
	}
	return err
}

// report writes the claim once the port exists. Addresses are freed and the claim
// is deleted only after the port is gone.
func (c podUnit) report(ctx context.Context, f pod.Facts, ip *v1.IP, out unit.Outcome) error {
	n := types.NamespacedName{Namespace: f.Namespace, Name: f.Name}
	c.waitingPods.set(n, f.Pod != nil && (out.Kept || !decide.Attached(ip)) && out.State != unit.Done)
	if f.Pod != nil {
		c.reporter.Problem(f.Pod, out)
	}
	u := decide.PodUnit(f.Namespace, f.Name)
	if err := c.claims.Bind(u, ip, out); err != nil {
		return err
	}
	if text := pod.Retagged(f.Claim, ip); text != "" && out.State == unit.Done {
		c.reporter.Warn(f.Pod, "VLANMoved", text)
	}
	return c.claims.Report(ctx, u, f.Claim, ip, out)
}
