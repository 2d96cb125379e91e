package service

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestServiceProject(t *testing.T) {
	f := Facts{Namespace: "a", Name: "s", Service: &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9"}}, Project: "P"}
	if got, _, err := decidetest.Parts(Decide(f)); err != nil || len(got.LoadBalancers) != 1 || got.LoadBalancers[0].Project != "P" {
		t.Errorf("%v: %+v", err, got)
	}
	f.ProjectProblem = intent.Wait{Reason: "UnknownProject"}
	if got, _, err := decidetest.Parts(Decide(f)); decidetest.Reason(err) != "UnknownProject" || !got.Empty() {
		t.Errorf("%v: %+v", err, got)
	}
}

// readyFacts returns the facts about a Service of type LoadBalancer whose record
// has all that it asked for.
func readyFacts() Facts {
	f := serviceFacts(serviceOf(func(s *corev1.Service) {
		s.UID, s.Spec.Type = "one", corev1.ServiceTypeLoadBalancer
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.24.4.7"}}
	}), sliceOf(8080, endpointAt("10.16.0.5")))
	f.Record = &kuryr.KuryrLoadBalancer{
		ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(f.Service, corev1.SchemeGroupVersion.WithKind("Service")),
		}},
		Status: kuryr.KuryrLoadBalancerStatus{LoadBalancer: &kuryr.LoadBalancer{IP: f.Service.Spec.ClusterIP}},
	}
	return f
}

func TestRefusedServiceKeepsItsLoadBalancer(t *testing.T) {
	waiting := intent.Wait{Reason: "Unread"}
	for _, row := range []struct {
		name, why string
		change    func(*Facts)
	}{
		{"a typo in a timeout", "BadRequest", func(f *Facts) { f.Service.Annotations = map[string]string{AnnotationClientTimeout: "ten"} }},
		{"a field that no balancer does", "Unsupported", func(f *Facts) {
			f.Service.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
		}},
		{"a wrong source range", "BadRequest", func(f *Facts) { f.Service.Spec.LoadBalancerSourceRanges = []string{"all"} }},
		{"nobody can say which project it is", "Unread", func(f *Facts) { f.ProjectProblem = waiting }},
	} {
		f := readyFacts()
		row.change(&f)
		decidetest.Keeps(t, row.name, Decide(f), row.why)
		if b, balanced := Frontends(f); !balanced || len(b.Listeners) != 1 || len(b.Listeners[0].Members) != 1 {
			t.Errorf("%s: policies see %+v", row.name, b)
		}
	}
}

// The members still follow the pods if only the external address is wrong.
func TestServiceWithInvalidAddressKeepsItsFloatingIP(t *testing.T) {
	for _, row := range []struct {
		name, why string
		change    func(*Facts)
	}{
		{"a wrong address", "BadRequest", func(f *Facts) { f.Service.Spec.LoadBalancerIP = "here" }},
		{"no network of floating IPs any more", "NoExternalNetwork", func(f *Facts) { f.ExternalNetwork = "" }},
		{"nobody can say which network that is", "Unread", func(f *Facts) { f.ExternalProblem = intent.Wait{Reason: "Unread"} }},
	} {
		f := readyFacts()
		row.change(&f)
		got, _, err := decidetest.Parts(Decide(f))
		if decidetest.Reason(err) != row.why || len(got.LoadBalancers) != 1 {
			t.Fatalf("%s: %v, %+v", row.name, err, got)
		}
		b := got.LoadBalancers[0]
		if b.FloatingIP == nil || b.FloatingIP.Addr.String() != "172.24.4.7" || len(b.Listeners[0].Members) != 1 {
			t.Errorf("%s: %+v", row.name, b)
		}
	}
}

// Kubernetes may have given the earlier Service's cluster IP to another Service.
func TestRefusedServiceDoesNotKeepEarlierLoadBalancer(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"another object":          func(f *Facts) { f.Service.UID = "two" },
		"another cluster IP":      func(f *Facts) { f.Service.Spec.ClusterIP = "10.96.0.99" },
		"a record without any":    func(f *Facts) { f.Record.Status.LoadBalancer = nil },
		"no record of a balancer": func(f *Facts) { f.Record = nil },
	} {
		f := readyFacts()
		change(&f)
		f.Service.Annotations = map[string]string{AnnotationClientTimeout: "ten"}
		want, called := Decide(f).Want()
		if !called || !want.Empty() || decidetest.Reason(Decide(f).Problem()) != "BadRequest" {
			t.Errorf("%s: called %v, %+v, %v", name, called, want, Decide(f).Problem())
		}
	}
}
