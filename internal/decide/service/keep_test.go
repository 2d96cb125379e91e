package service

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestServicesProject(t *testing.T) {
	f := Facts{Namespace: "a", Name: "s", Service: &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9"}}, Project: "P"}
	if got, _, err := decidetest.Parts(Decide(f)); err != nil || len(got.LoadBalancers) != 1 || got.LoadBalancers[0].Project != "P" {
		t.Errorf("%v: %+v", err, got)
	}
	f.ProjectProblem = intent.Wait{Reason: "UnknownProject"}
	if got, _, err := decidetest.Parts(Decide(f)); decidetest.Reason(err) != "UnknownProject" || !got.Empty() {
		t.Errorf("%v: %+v", err, got)
	}
}

func TestAServiceThatIsRefusedKeepsItsBalancer(t *testing.T) {
	lb := func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.24.4.7"}}
	}
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
		{"a wrong address", "BadRequest", func(f *Facts) { f.Service.Spec.LoadBalancerIP = "here" }},
		{"no network of floating IPs any more", "NoExternalNetwork", func(f *Facts) { f.ExternalNetwork = "" }},
		{"nobody can say which network that is", "Unread", func(f *Facts) { f.ExternalProblem = waiting }},
		{"nobody can say which project it is", "Unread", func(f *Facts) { f.ProjectProblem = waiting }},
	} {
		f := serviceFacts(serviceOf(lb), sliceOf(8080, endpointAt("10.16.0.5")))
		row.change(&f)
		decidetest.Keeps(t, row.name, Decide(f), row.why)
		if b, balanced := Frontends(f); !balanced || len(b.Listeners) != 1 || len(b.Listeners[0].Members) != 1 {
			t.Errorf("%s: policies see %+v", row.name, b)
		}
	}
}
