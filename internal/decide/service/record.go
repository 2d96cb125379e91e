package service

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Record returns the KuryrLoadBalancer of a Service, without its status; nil if
// the Service has no load balancer. Kubernetes deletes it with the Service, which
// owns it. seen may be nil.
func Record(f Facts, provider string, seen *intent.LoadBalancerStatus) *kuryr.KuryrLoadBalancer {
	if !needsLoadBalancer(f.Service) {
		return nil
	}
	s := f.Service
	spec := kuryr.KuryrLoadBalancerSpec{
		IP: s.Spec.ClusterIP, LBIP: s.Spec.LoadBalancerIP, Type: string(cmp.Or(s.Spec.Type, corev1.ServiceTypeClusterIP)),
		Provider: provider, ProjectID: f.Project,
	}
	if client, err := timeout(s, AnnotationClientTimeout, f.ClientTimeout); err == nil {
		spec.TimeoutClientData = client.Milliseconds()
	}
	if member, err := timeout(s, AnnotationMemberTimeout, f.MemberTimeout); err == nil {
		spec.TimeoutMemberData = member.Milliseconds()
	}
	if seen != nil {
		spec.ProjectID, spec.SubnetID = cmp.Or(seen.Project, spec.ProjectID), seen.Subnet
	}
	for _, p := range s.Spec.Ports {
		spec.Ports = append(spec.Ports, kuryr.ServicePort{Name: p.Name, Port: p.Port, Protocol: string(p.Protocol), TargetPort: p.TargetPort.String()})
	}
	for _, slice := range f.Slices {
		spec.EndpointSlices = append(spec.EndpointSlices, recordSlice(slice))
	}
	return &kuryr.KuryrLoadBalancer{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.Namespace, Name: f.Name, OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(s, corev1.SchemeGroupVersion.WithKind("Service")),
		}},
		Spec: spec,
	}
}

func recordSlice(s *discoveryv1.EndpointSlice) kuryr.EndpointSlice {
	var out kuryr.EndpointSlice
	for _, e := range s.Endpoints {
		o := kuryr.Endpoint{Addresses: e.Addresses, Conditions: kuryr.EndpointConditions{Ready: e.Conditions.Ready == nil || *e.Conditions.Ready}}
		if e.Hostname != nil {
			o.Hostname = *e.Hostname
		}
		if t := e.TargetRef; t != nil {
			o.TargetRef = &kuryr.TargetRef{Kind: t.Kind, Name: t.Name, Namespace: t.Namespace, ResourceVersion: t.ResourceVersion, UID: string(t.UID)}
		}
		out.Endpoints = append(out.Endpoints, o)
	}
	for _, p := range s.Ports {
		var o kuryr.EndpointPort
		if p.Name != nil {
			o.Name = *p.Name
		}
		if p.Port != nil {
			o.Port = *p.Port
		}
		if p.Protocol != nil {
			o.Protocol = string(*p.Protocol)
		}
		out.Ports = append(out.Ports, o)
	}
	return out
}

// RecordStatus returns a KuryrLoadBalancer's status for what a load balancer has
// in the cloud. It sets no conditions; another writer owns them.
func RecordStatus(b intent.LoadBalancerStatus) kuryr.KuryrLoadBalancerStatus {
	var out kuryr.KuryrLoadBalancerStatus
	if b.ID == "" {
		return out
	}
	out.LoadBalancer = &kuryr.LoadBalancer{
		ID: b.ID, IP: b.VIP.String(), Name: b.Name, PortID: b.Port, ProjectID: b.Project, Provider: b.Provider, SubnetID: b.Subnet,
	}
	for _, l := range b.Listeners {
		out.Listeners = append(out.Listeners, kuryr.Listener{
			ID: l.ID, LoadBalancerID: b.ID, Name: l.Name, Port: int32(l.Port), ProjectID: b.Project, Protocol: l.Protocol,
			TimeoutClientData: l.ClientTimeout.Milliseconds(), TimeoutMemberData: l.MemberTimeout.Milliseconds(),
		})
		out.Pools = append(out.Pools, kuryr.Pool{ID: l.Pool, ListenerID: l.ID, LoadBalancerID: b.ID, Name: l.Name, ProjectID: b.Project, Protocol: l.Protocol})
		for _, m := range l.Members {
			out.Members = append(out.Members, kuryr.Member{ID: m.ID, IP: m.Addr.String(), Name: m.Name, PoolID: l.Pool, Port: int32(m.Port), ProjectID: b.Project, SubnetID: m.Subnet})
		}
	}
	if f := b.FloatingIP; f != nil {
		method := "user"
		if f.Own {
			method = "pool"
		}
		out.ServicePubIPInfo = &kuryr.PublicIP{IPID: f.ID, IPAddr: f.Addr.String(), AllocMethod: method}
	}
	return out
}
