package controller

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
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/decide/service"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// policyUnit gathers and reports NetworkPolicies, and the groups that they share.
type policyUnit struct {
	client   client.Client
	reporter reporter
	cloud    *cloud.Cloud
	index    *policyIndex
	members  members
}

func (u policyUnit) gather(ctx context.Context, n types.NamespacedName) (policy.Facts, error) {
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
	np, err := kube.Get[networkingv1.NetworkPolicy](ctx, u.client, n)
	if np == nil || err != nil {
		return f, err
	}
	f.CloudGroups, err = u.cloud.GroupIDs(ctx, policy.CloudGroupsOf(np))
	return f, err
}

func (u policyUnit) gatherGroup(ctx context.Context, n types.NamespacedName) (policy.GroupFacts, error) {
	f := policy.GroupFacts{Unit: unit.Name("group", n)}
	var err error
	f.Index, f.Ports, err = u.policies(ctx)
	return f, err
}

// policies returns all policies and named ports. It waits for Neutron: what is
// decided before Neutron's groups are known must not be applied after that.
func (u policyUnit) policies(ctx context.Context) (*policy.Index, policy.PortCount, error) {
	if err := u.cloud.Ready(); err != nil {
		return nil, nil, err
	}
	index, err := u.index.read(ctx, u.client)
	return index, u.index.namedPorts(), err
}

// services returns all Services with a load balancer in Octavia, and the pods
// that are their members.
func (u policyUnit) services(ctx context.Context) ([]policy.Service, error) {
	if u.members.topology.settings.Overlay() {
		return nil, nil
	}
	all, err := kube.Services(ctx, u.client)
	if err != nil {
		return nil, err
	}
	var out []policy.Service
	for _, s := range all {
		f := service.Facts{Namespace: s.Namespace, Name: s.Name, Network: decide.ServiceNetwork, Service: s}
		if err := u.members.gather(ctx, &f); err != nil {
			return nil, err
		}
		if lb, has := service.Frontends(f); has {
			out = append(out, policy.ServiceOf(lb, func(a netip.Addr) *policy.Pod { return u.podAt(ctx, a) }))
		}
	}
	return out, nil
}

// podAt returns the pod that has an address, nil if none has.
func (u policyUnit) podAt(ctx context.Context, a netip.Addr) *policy.Pod {
	ips, _ := kube.IPs(ctx, u.client, client.MatchingFields{kube.IndexClaimAddr: a.String()})
	for _, ip := range ips {
		p, _ := kube.Get[corev1.Pod](ctx, u.client, types.NamespacedName{Namespace: ip.Spec.Namespace, Name: ip.Spec.PodName})
		if p == nil {
			continue
		}
		ns, _ := kube.Namespace(ctx, u.client, p.Namespace)
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

// report puts events on the policy: it has no status.
func (u policyUnit) report(ctx context.Context, f policy.Facts, _ struct{}, out unit.Outcome) error {
	return u.problem(ctx, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}, out)
}

// reportGroup puts events on the policies that need the group: it has no object.
func (u policyUnit) reportGroup(ctx context.Context, f policy.GroupFacts, _ struct{}, out unit.Outcome) error {
	for _, n := range f.Index.ReferringTo(f.Unit, f.Ports) {
		if err := u.problem(ctx, n, out); err != nil {
			return err
		}
	}
	return nil
}

// groupInUse is the reason of a Wait for the ports in a group. They leave it soon,
// so no event says it.
const groupInUse = "InUse"

func (u policyUnit) problem(ctx context.Context, n types.NamespacedName, out unit.Outcome) error {
	np, err := kube.Get[networkingv1.NetworkPolicy](ctx, u.client, n)
	if np == nil || err != nil || out.Reason == groupInUse {
		return err
	}
	u.reporter.problem(np, out)
	return nil
}
