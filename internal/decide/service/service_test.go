package service

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// serviceOf returns Service default/web with one port, after the changes.
func serviceOf(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.20", ClusterIPs: []string{"10.96.0.20"},
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt(8080)}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// endpointAt returns an endpoint that is ready, or has these conditions: ready,
// serving, terminating.
func endpointAt(addr string, conditions ...bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{addr}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "pod-" + addr}}
	if len(conditions) == 3 {
		e.Conditions = discoveryv1.EndpointConditions{Ready: &conditions[0], Serving: &conditions[1], Terminating: &conditions[2]}
	}
	return e
}

func sliceOf(port int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: new(""), Port: &port, Protocol: new(corev1.ProtocolTCP)}},
	}
}

func serviceFacts(s *corev1.Service, slices ...*discoveryv1.EndpointSlice) Facts {
	return Facts{
		Namespace: "default", Name: "web", Service: s, Slices: slices, Network: "services", ExternalNetwork: "public",
		EndpointNetworks: []EndpointNetwork{{"pods", netip.MustParsePrefix("10.16.0.0/16")}, {"vms", netip.MustParsePrefix("192.168.1.0/24")}, {"", netip.MustParsePrefix("12.0.5.0/24")}},
		Nodes:            map[string][]netip.Addr{"node1": {netip.MustParseAddr("10.16.0.2")}},
	}
}

// membersOf returns a listener's members as "name@network=addr:port".
func membersOf(l intent.Listener) string {
	var out []string
	for _, m := range l.Members {
		out = append(out, m.Name+"@"+m.Network+"="+netip.AddrPortFrom(m.Addr, uint16(m.Port)).String())
	}
	return strings.Join(out, " ")
}

func TestServiceWithoutLoadBalancer(t *testing.T) {
	for name, s := range map[string]*corev1.Service{
		"no Service":   nil,
		"headless":     serviceOf(func(s *corev1.Service) { s.Spec.ClusterIP = "None" }),
		"no address":   serviceOf(func(s *corev1.Service) { s.Spec.ClusterIP = "" }),
		"ExternalName": serviceOf(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }),
		"going":        serviceOf(func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{} }),
	} {
		f := serviceFacts(s)
		if s != nil {
			f.Name = s.Name
		}
		if name == "going" {
			f.Service.DeletionTimestamp = new(metav1.Unix(1, 0))
		}
		if want, _, err := decidetest.Parts(Decide(f)); err != nil || len(want.LoadBalancers) != 0 {
			t.Errorf("%s: %+v, %v", name, want, err)
		}
		if r := Record(f, "ovn", nil); r != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func onNode1(addr string) discoveryv1.Endpoint {
	e := endpointAt(addr)
	e.NodeName = new("node1")
	return e
}

func TestMembers(t *testing.T) {
	onNode, ours := onNode1("172.31.0.11"), onNode1("12.0.5.4")
	unknown := discoveryv1.Endpoint{Addresses: []string{"203.0.113.9"}}
	v6 := sliceOf(8080, endpointAt("fd00::1"))
	v6.AddressType = discoveryv1.AddressTypeIPv6
	going := sliceOf(8080, endpointAt("10.16.0.9"))
	going.DeletionTimestamp = new(metav1.Unix(1, 0))
	for _, c := range []struct {
		name    string
		service *corev1.Service
		slices  []*discoveryv1.EndpointSlice
		want    string
	}{
		{"nobody", serviceOf(), nil, ""},
		{
			"ready", serviceOf(),
			[]*discoveryv1.EndpointSlice{sliceOf(8080, endpointAt("10.16.0.5"), endpointAt("10.16.0.4", true, true, false))},
			"default/pod-10.16.0.4@pods=10.16.0.4:8080 default/pod-10.16.0.5@pods=10.16.0.5:8080",
		},
		{"not ready", serviceOf(), []*discoveryv1.EndpointSlice{sliceOf(8080, endpointAt("10.16.0.5", false, false, false))}, ""},
		{
			"published all the same", serviceOf(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }),
			[]*discoveryv1.EndpointSlice{sliceOf(8080, endpointAt("10.16.0.5", false, false, false))},
			"default/pod-10.16.0.5@pods=10.16.0.5:8080",
		},
		{
			"ending while another is ready", serviceOf(),
			[]*discoveryv1.EndpointSlice{sliceOf(8080, endpointAt("10.16.0.5", false, true, true), endpointAt("10.16.0.6"))},
			"default/pod-10.16.0.6@pods=10.16.0.6:8080",
		},
		{
			"all ending", serviceOf(),
			[]*discoveryv1.EndpointSlice{sliceOf(8080, endpointAt("10.16.0.5", false, true, true), endpointAt("10.16.0.6", false, false, true))},
			"default/pod-10.16.0.5@pods=10.16.0.5:8080",
		},
		{
			"two slices, one twice", serviceOf(),
			[]*discoveryv1.EndpointSlice{sliceOf(8080, endpointAt("10.16.0.5")), sliceOf(8080, endpointAt("10.16.0.5")), sliceOf(9090, endpointAt("10.16.0.6"))},
			"default/pod-10.16.0.5@pods=10.16.0.5:8080 default/pod-10.16.0.6@pods=10.16.0.6:9090",
		},
		{
			"on another segment, a node's, nobody's", serviceOf(),
			[]*discoveryv1.EndpointSlice{sliceOf(8080, endpointAt("192.168.1.61"), onNode, unknown)},
			"default/pod-172.31.0.11@pods=10.16.0.2:8080 default/pod-192.168.1.61@vms=192.168.1.61:8080 default/203.0.113.9@services=203.0.113.9:8080",
		},
		{"on a network that is none of Neutron's", serviceOf(), []*discoveryv1.EndpointSlice{sliceOf(8080, ours)}, "default/pod-12.0.5.4@services=12.0.5.4:8080"},
		{"another family, a slice that goes", serviceOf(), []*discoveryv1.EndpointSlice{v6, going}, ""},
	} {
		want, _, err := decidetest.Parts(Decide(serviceFacts(c.service, c.slices...)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, membersOf(want.LoadBalancers[0].Listeners[0])); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestNamedPorts(t *testing.T) {
	s := serviceOf(func(s *corev1.Service) {
		s.Spec.Ports = []corev1.ServicePort{
			{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP}, {Name: "sig", Port: 9, Protocol: corev1.ProtocolSCTP},
		}
	})
	slice := sliceOf(0, endpointAt("10.16.0.5"))
	slice.Ports = []discoveryv1.EndpointPort{
		{Name: new("dns"), Port: new(int32(5353)), Protocol: new(corev1.ProtocolUDP)},
		{Name: new("dns-tcp"), Port: new(int32(5354)), Protocol: new(corev1.ProtocolTCP)},
		{Name: new("sig"), Port: nil, Protocol: new(corev1.ProtocolSCTP)},
	}
	want, _, err := decidetest.Parts(Decide(serviceFacts(s, slice)))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, l := range want.LoadBalancers[0].Listeners {
		have = append(have, l.Protocol+" "+membersOf(l))
	}
	if diff := cmp.Diff([]string{"UDP default/pod-10.16.0.5@pods=10.16.0.5:5353", "TCP default/pod-10.16.0.5@pods=10.16.0.5:5354", "SCTP "}, have); diff != "" {
		t.Error(diff)
	}
}

func TestServiceOptions(t *testing.T) {
	s := serviceOf(func(s *corev1.Service) {
		s.Spec.Type, s.Spec.LoadBalancerIP = corev1.ServiceTypeLoadBalancer, "172.24.4.77"
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"}
		s.Annotations = map[string]string{AnnotationClientTimeout: "1500", AnnotationMemberTimeout: "0"}
	})
	f := serviceFacts(s)
	f.ClientTimeout, f.MemberTimeout = time.Hour, time.Hour
	want, _, err := decidetest.Parts(Decide(f))
	if err != nil {
		t.Fatal(err)
	}
	b := want.LoadBalancers[0]
	l := b.Listeners[0]
	if b.Name != "default/web" || b.VIP.String() != "10.96.0.20" || b.Network != "services" || b.FloatingIP == nil || b.FloatingIP.Addr.String() != "172.24.4.77" ||
		!l.Affinity || l.ClientTimeout != 1500*time.Millisecond || l.MemberTimeout != 0 || len(l.Sources) != 1 {
		t.Errorf("%+v", b)
	}
}

func TestFloatingIP(t *testing.T) {
	lb := func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer }
	for name, c := range map[string]struct {
		service  *corev1.Service
		external string
		floating bool
		reason   string
	}{
		"ClusterIP":           {serviceOf(), "public", false, ""},
		"NodePort":            {serviceOf(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }), "public", false, ""},
		"LoadBalancer":        {serviceOf(lb), "public", true, ""},
		"another's class":     {serviceOf(lb, func(s *corev1.Service) { s.Spec.LoadBalancerClass = new("x/y") }), "public", false, ""},
		"no external network": {serviceOf(lb), "", false, "NoExternalNetwork"},
		"no address":          {serviceOf(lb, func(s *corev1.Service) { s.Spec.LoadBalancerIP = "here" }), "public", false, "BadRequest"},
	} {
		f := serviceFacts(c.service)
		f.ExternalNetwork = c.external
		want, _, err := decidetest.Parts(Decide(f))
		var stop intent.Stop
		errors.As(err, &stop)
		if len(want.LoadBalancers) != 1 || (want.LoadBalancers[0].FloatingIP != nil) != c.floating || stop.Reason != c.reason {
			t.Errorf("%s: %+v, %v", name, want, err)
		}
	}
}

func TestServiceRefused(t *testing.T) {
	for reason, s := range map[string]*corev1.Service{
		"Unsupported: two cluster IPs": serviceOf(func(s *corev1.Service) { s.Spec.ClusterIPs = []string{"10.96.0.20", "fd00::20"} }),
		"Unsupported: internalTrafficPolicy": serviceOf(func(s *corev1.Service) {
			s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
		}),
		"BadRequest: milliseconds": serviceOf(func(s *corev1.Service) { s.Annotations = map[string]string{AnnotationClientTimeout: "1m"} }),
		"BadRequest: loadBalancerSourceRanges": serviceOf(func(s *corev1.Service) {
			s.Spec.Type, s.Spec.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"all"}
		}),
	} {
		want, _, err := decidetest.Parts(Decide(serviceFacts(s)))
		word, text, _ := strings.Cut(reason, ": ")
		var stop intent.Stop
		if len(want.LoadBalancers) != 0 || !errors.As(err, &stop) || stop.Reason != word || !strings.Contains(stop.Why, text) {
			t.Errorf("%s: %+v, %v", reason, want, err)
		}
	}
}

func TestLoadBalancerRecord(t *testing.T) {
	f := serviceFacts(serviceOf(), sliceOf(8080, endpointAt("10.16.0.5")))
	b := intent.LoadBalancerStatus{
		ID: "lb", Name: "default/web", VIP: netip.MustParseAddr("10.96.0.20"), Port: "port", Subnet: "sub", Project: "p", Provider: "ovn",
		Listeners: []intent.ListenerStatus{{ID: "l", Pool: "pool", Name: "default/web:TCP:80", Protocol: "TCP", Port: 80, Members: []intent.MemberStatus{
			{ID: "m", Name: "default/pod:8080", Addr: netip.MustParseAddr("10.16.0.5"), Port: 8080, Subnet: "pods"},
		}}},
		FloatingIP: &intent.FloatingIPStatus{ID: "fip", Addr: netip.MustParseAddr("172.24.4.7"), Own: true},
	}
	r := Record(f, "ovn", &b)
	if r.Spec.IP != "10.96.0.20" || r.Spec.SubnetID != "sub" || r.Spec.ProjectID != "p" || len(r.Spec.Ports) != 1 || r.Spec.Ports[0].TargetPort != "8080" ||
		len(r.Spec.EndpointSlices) != 1 || len(r.OwnerReferences) != 1 {
		t.Errorf("%+v", r)
	}
	st := RecordStatus(b)
	if st.LoadBalancer.PortID != "port" || len(st.Listeners) != 1 || st.Pools[0].ListenerID != "l" || st.Members[0].PoolID != "pool" ||
		st.ServicePubIPInfo.AllocMethod != "pool" {
		t.Errorf("%+v", st)
	}
}
