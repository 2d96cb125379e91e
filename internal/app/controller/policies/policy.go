// Package policies gathers and reports NetworkPolicies and the groups that they
// share, and follows their changes. internal/decide/policy decides what they ask
// for. Read policy.go first.
package policies

import (
	"context"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/report"
	"github.com/isthmus-cni/isthmus/internal/app/controller/services"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/decide/service"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// Unit gathers and reports NetworkPolicies, and the groups that they share.
type Unit struct {
	Client   client.Client
	Reporter report.Reporter
	Cloud    *cloud.Cloud
	Index    *Index
	Members  services.Members
}

// Gather reads the facts about one policy.
func (u Unit) Gather(ctx context.Context, n types.NamespacedName) (policy.Facts, error) {
	f := policy.Facts{Namespace: n.Namespace, Name: n.Name}
	var err error
	if f.Index, f.Ports, err = u.policies(ctx); err != nil {
		return f, err
	}
	if slices.Contains(f.Index.UsingServices(), n) {
		if f.Services, err = u.services(ctx); err != nil {
			return f, err
		}
	}
	np, err := kube.Get[networkingv1.NetworkPolicy](ctx, u.Client, n)
	if np == nil || err != nil {
		return f, err
	}
	f.CloudGroups, err = u.Cloud.GroupIDs(ctx, policy.CloudGroupsOf(np))
	return f, err
}

// GatherGroup reads the facts about one group that policies share.
func (u Unit) GatherGroup(ctx context.Context, n types.NamespacedName) (policy.GroupFacts, error) {
	f := policy.GroupFacts{Unit: unit.Name("group", n)}
	var err error
	f.Index, f.Ports, err = u.policies(ctx)
	return f, err
}

// policies returns all policies and named ports. It returns an intent.Wait until
// Neutron has been read: a decision made before Neutron's groups are known must
// not be applied after that.
func (u Unit) policies(ctx context.Context) (*policy.Index, policy.PortCount, error) {
	if err := u.Cloud.Ready(); err != nil {
		return nil, nil, err
	}
	index, err := u.Index.Read(ctx, u.Client)
	return index, u.Index.namedPorts(), err
}

// services returns all Services with a load balancer in Octavia, and the pods
// behind them.
func (u Unit) services(ctx context.Context) ([]policy.Service, error) {
	if u.Members.Topology.Settings.Overlay() {
		return nil, nil
	}
	all, err := kube.Services(ctx, u.Client)
	if err != nil {
		return nil, err
	}
	var out []policy.Service
	for _, s := range all {
		f := service.Facts{Namespace: s.Namespace, Name: s.Name, Network: decide.ServiceNetwork, Service: s}
		if err := u.Members.Gather(ctx, &f); err != nil {
			return nil, err
		}
		if lb, has := service.Frontends(f); has {
			out = append(out, policy.ServiceOf(lb, func(a netip.Addr) *policy.Pod { return u.podAt(ctx, a) }))
		}
	}
	return out, nil
}

// podAt returns the pod that has an address; nil if none has.
func (u Unit) podAt(ctx context.Context, a netip.Addr) *policy.Pod {
	ips, _ := kube.IPs(ctx, u.Client, client.MatchingFields{kube.IndexClaimAddr: a.String()})
	for _, ip := range ips {
		p, _ := kube.Get[corev1.Pod](ctx, u.Client, types.NamespacedName{Namespace: ip.Spec.Namespace, Name: ip.Spec.PodName})
		if p == nil {
			continue
		}
		ns, _ := kube.Namespace(ctx, u.Client, p.Namespace)
		if pod, is := policyPod(p, ns, ip); is {
			return &pod
		}
	}
	return nil
}

// policyPod returns a pod as policies see it; false if policies do not apply to it.
// claim may be nil.
func policyPod(p *corev1.Pod, ns *corev1.Namespace, claim *v1.IP) (policy.Pod, bool) {
	if !pod.NeedsPort(p) {
		return policy.Pod{}, false
	}
	var addrs []netip.Addr
	if claim != nil && decide.IPUnit(claim) == decide.PodUnit(p.Namespace, p.Name) {
		if decide.Attached(claim) && decide.FabricOfIP(claim) != intent.FabricNeutron {
			return policy.Pod{}, false
		}
		addrs = decide.Addrs(claim)
	}
	return policy.PodOf(p, ns, addrs), true
}

// Report puts events on the policy, because it has no status.
func (u Unit) Report(ctx context.Context, f policy.Facts, _ struct{}, out unit.Outcome) error {
	return u.problem(ctx, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}, out)
}

// ReportGroup puts events on the policies that need the group, because it has no
// object.
func (u Unit) ReportGroup(ctx context.Context, f policy.GroupFacts, _ struct{}, out unit.Outcome) error {
	for _, n := range f.Index.ReferringTo(f.Unit, f.Ports) {
		if err := u.problem(ctx, n, out); err != nil {
			return err
		}
	}
	return nil
}

// groupInUse is the reason of a Wait until the ports in a group have left it.
// They leave it soon, so no event reports it.
const groupInUse = "InUse"

func (u Unit) problem(ctx context.Context, n types.NamespacedName, out unit.Outcome) error {
	np, err := kube.Get[networkingv1.NetworkPolicy](ctx, u.Client, n)
	if np == nil || err != nil || out.Reason == groupInUse {
		return err
	}
	u.Reporter.Problem(np, out)
	return nil
}
