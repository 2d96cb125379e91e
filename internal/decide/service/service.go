// Package service decides what one Service asks of the network: one load
// balancer, and a floating IP if the Service is of type LoadBalancer. It does no
// I/O and knows no fabric. Begin with Decide; members.go finds the members of a
// Service, record.go describes the load balancer as a KuryrLoadBalancer.
package service

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Annotations of a Service with the idle timeouts of a connection, in
// milliseconds, on the client's and on the member's side.
const (
	AnnotationClientTimeout = "openstack.org/kuryr-timeout-client-data"
	AnnotationMemberTimeout = "openstack.org/kuryr-timeout-member-data"
)

// Facts are the facts about one Service.
type Facts struct {
	Namespace, Name string
	// Service is nil if there is no such object.
	Service *corev1.Service
	// Record is the record of the load balancer; nil if there is none. It only
	// decides whether a refused Service keeps its load balancer.
	Record *kuryr.KuryrLoadBalancer
	// Slices are the EndpointSlices labelled with the Service's name.
	Slices []*discoveryv1.EndpointSlice
	// Network is the name of the network of the cluster IPs.
	Network string
	// EndpointNetworks are the networks that members may be in, with their
	// prefixes.
	EndpointNetworks []EndpointNetwork
	// Nodes are the addresses that nodes have in EndpointNetworks, by the node's
	// name.
	Nodes map[string][]netip.Addr
	// Project is the id of the cloud project that owns the load balancer; empty
	// for ours. ProjectProblem says why that project cannot own it; nil if it can.
	Project        string
	ProjectProblem error
	// ExternalNetwork is the id of the network of floating IPs; empty if there is
	// none.
	ExternalNetwork string
	// ExternalProblem says why that network is not known; nil if it is.
	ExternalProblem error
	// ClientTimeout and MemberTimeout apply to Services without the annotations; 0
	// for the provider's default.
	ClientTimeout, MemberTimeout time.Duration
}

// EndpointNetwork is a network and one of its prefixes. Network is empty for a
// network of ours on the same router, which Neutron does not know.
type EndpointNetwork struct {
	Network string
	Prefix  netip.Prefix
}

// Unit returns the name of a Service's unit.
func Unit(namespace, service string) intent.Unit {
	return intent.Unit("service/" + namespace + "/" + service)
}

// Decide returns what a Service asks of the network: one load balancer with the
// cluster IP, and a floating IP if the Service is of type LoadBalancer without a
// loadBalancerClass.
//
// A headless Service and one of type ExternalName get no load balancer. A Service
// that is refused keeps its load balancer and floating IP. Those of an earlier
// Service of the same name are removed, because Kubernetes may have given their
// cluster IP to another Service.
func Decide(f Facts) intent.Decision[struct{}] {
	if !needsLoadBalancer(f.Service) {
		return intent.Remove(struct{}{})
	}
	b, err := f.loadBalancer()
	if err := cmp.Or(f.ProjectProblem, err); err != nil {
		if !f.hasLoadBalancer() {
			return intent.Withdraw(struct{}{}, err)
		}
		return intent.Keep(struct{}{}, err)
	}
	problem := f.addFloatingIP(&b)
	if problem != nil {
		b.FloatingIP = f.presentFloatingIP()
	}
	return intent.ApplyWith(intent.Want{Fabric: intent.FabricOctavia, LoadBalancers: []intent.LoadBalancer{b}}, struct{}{}, problem)
}

// hasLoadBalancer tells whether the existing load balancer belongs to this very
// Service and has its cluster IP.
func (f Facts) hasLoadBalancer() bool {
	return f.Record != nil && metav1.IsControlledBy(f.Record, f.Service) &&
		f.Record.Status.LoadBalancer != nil && f.Record.Status.LoadBalancer.IP == f.Service.Spec.ClusterIP
}

// presentFloatingIP returns the floating IP that the Service has; nil if it has
// none.
func (f Facts) presentFloatingIP() *intent.FloatingIP {
	for _, in := range f.Service.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil {
			return &intent.FloatingIP{Network: f.ExternalNetwork, Addr: a}
		}
	}
	return nil
}

// Frontends returns the addresses and ports of the Service's load balancer, with
// the members behind them. It returns false if the Service has no load balancer.
// It ignores everything else that a Service asks for, even if that is refused.
func Frontends(f Facts) (intent.LoadBalancer, bool) {
	if !needsLoadBalancer(f.Service) {
		return intent.LoadBalancer{}, false
	}
	vip, err := netip.ParseAddr(f.Service.Spec.ClusterIP)
	return intent.LoadBalancer{VIP: vip, Listeners: f.listeners(vip, intent.Listener{})}, err == nil
}

func needsLoadBalancer(s *corev1.Service) bool {
	switch {
	case s == nil, !s.DeletionTimestamp.IsZero():
		return false
	case s.Spec.Type == corev1.ServiceTypeExternalName, s.Spec.ClusterIP == corev1.ClusterIPNone, s.Spec.ClusterIP == "":
		return false
	}
	return true
}

// loadBalancer returns the load balancer without a floating IP. It errs with an
// intent.Stop if the Service asks for something unsupported or invalid.
func (f Facts) loadBalancer() (intent.LoadBalancer, error) {
	s := f.Service
	b := intent.LoadBalancer{Name: f.Namespace + "/" + f.Name, Network: f.Network, Project: f.Project}
	vip, err := netip.ParseAddr(s.Spec.ClusterIP)
	if err != nil {
		return b, intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("clusterIP %q is not an address", s.Spec.ClusterIP)}
	}
	b.VIP = vip
	if len(s.Spec.ClusterIPs) > 1 {
		return b, unsupported("two cluster IPs: set ipFamilyPolicy: SingleStack")
	}
	if p := s.Spec.InternalTrafficPolicy; p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal {
		return b, unsupported("internalTrafficPolicy: Local")
	}
	client, cerr := timeout(s, AnnotationClientTimeout, f.ClientTimeout)
	member, merr := timeout(s, AnnotationMemberTimeout, f.MemberTimeout)
	sources, serr := sourceRanges(s)
	if err := cmp.Or(cerr, merr, serr); err != nil {
		return b, err
	}
	b.Listeners = f.listeners(vip, intent.Listener{
		Affinity:      s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP,
		ClientTimeout: client, MemberTimeout: member, Sources: sources,
	})
	return b, nil
}

// listeners returns one listener for each port of the Service, with its members.
// All other fields are those of l.
func (f Facts) listeners(vip netip.Addr, l intent.Listener) []intent.Listener {
	var out []intent.Listener
	endpoints := f.endpoints(vip)
	for _, p := range f.Service.Spec.Ports {
		l.Protocol, l.Port, l.Members = string(cmp.Or(p.Protocol, corev1.ProtocolTCP)), int(p.Port), f.members(endpoints, p)
		out = append(out, l)
	}
	return out
}

func unsupported(what string) error {
	return intent.Stop{Reason: "Unsupported", Why: "load balancers of OpenStack do not do " + what}
}

// addFloatingIP adds the floating IP to the load balancer if the Service asks for
// one. It errs with an intent.Wait or an intent.Stop if it cannot; the load
// balancer is created without it.
func (f Facts) addFloatingIP(b *intent.LoadBalancer) error {
	s := f.Service.Spec
	if s.Type != corev1.ServiceTypeLoadBalancer || s.LoadBalancerClass != nil {
		return nil
	}
	want := intent.FloatingIP{Network: f.ExternalNetwork}
	if s.LoadBalancerIP != "" {
		a, err := netip.ParseAddr(s.LoadBalancerIP)
		if err != nil {
			return intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("loadBalancerIP %q is not an address", s.LoadBalancerIP)}
		}
		want.Addr = a
	}
	if f.ExternalProblem != nil && !want.Addr.IsValid() {
		return f.ExternalProblem
	}
	if want.Network == "" && !want.Addr.IsValid() {
		return intent.Stop{Reason: "NoExternalNetwork", Why: "type LoadBalancer needs an address from outside: set externalNetwork in the configuration, or loadBalancerIP to a floating IP that you have"}
	}
	b.FloatingIP = &want
	return nil
}

// timeout returns the annotation's value, or otherwise if there is no annotation.
// It errs with an intent.Stop if the value is invalid.
func timeout(s *corev1.Service, annotation string, otherwise time.Duration) (time.Duration, error) {
	text, asked := s.Annotations[annotation]
	if !asked {
		return otherwise, nil
	}
	const most = 365 * 24 * 60 * 60 * 1000 // Octavia's maximum
	ms, err := strconv.Atoi(text)
	if err != nil || ms < 0 || ms > most {
		return 0, decide.BadAnnotation(annotation, fmt.Errorf("%q is not a number of milliseconds from 0 to %d", text, most))
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// sourceRanges returns the prefixes that may connect to a Service of type
// LoadBalancer, from its spec or from the annotation with the same meaning; nil
// if everybody may. It errs with an intent.Stop.
func sourceRanges(s *corev1.Service) ([]netip.Prefix, error) {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil, nil
	}
	texts := s.Spec.LoadBalancerSourceRanges
	if a := strings.TrimSpace(s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]); a != "" && len(texts) == 0 {
		texts = strings.Split(a, ",")
	}
	var out []netip.Prefix
	for _, t := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(t))
		if err != nil {
			return nil, intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("loadBalancerSourceRanges has %q, which is not a network prefix such as 192.0.2.0/24", t)}
		}
		out = append(out, p.Masked())
	}
	if includesEverybody(out) {
		return nil, nil
	}
	return out, nil
}

func includesEverybody(ps []netip.Prefix) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Bits() == 0 })
}
