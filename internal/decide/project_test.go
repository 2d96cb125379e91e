package decide

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestProjectAsked(t *testing.T) {
	for _, row := range []struct{ annotation, id, reason string }{
		{"", "", ""},
		{"0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef", ""},
		{"default", "default", ""},
		{"../users", "", "BadRequest"},
		{"two words", "", "BadRequest"},
	} {
		id, err := ProjectAsked(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{AnnotationProject: row.annotation}}})
		if id != row.id || reason(err) != row.reason {
			t.Errorf("%q: %q, %v", row.annotation, id, err)
		}
	}
	if id, err := ProjectAsked(nil); id != "" || err != nil {
		t.Errorf("no namespace: %q, %v", id, err)
	}
}

// A project that is not there holds up new ports of Neutron's, and nothing else.
func TestProjects(t *testing.T) {
	problem := intent.Wait{Reason: "UnknownProject"}
	attached := &v1.IP{
		ObjectMeta: metav1.ObjectMeta{Name: "p.a"},
		Spec: v1.IPSpec{
			PodName: "p", Namespace: "a", PodUID: "u", Subnet: "net2", V4IPAddress: "10.1.0.9",
			Attach: v1.Attach{OVS: &v1.AttachOVS{IfaceID: "port1"}},
		},
	}
	for _, row := range []struct {
		name, provider, project, want, reason string
		problem                               error
		claim                                 *v1.IP
	}{
		{"none asked for", "neutron", "", "", "", nil, nil},
		{"one that is there", "neutron", "P", "P", "", nil, nil},
		{"one that is not", "neutron", "P", "", "UnknownProject", problem, nil},
		{"one that is not, of a pod that runs", "neutron", "P", "P", "", problem, attached},
		{"one that is not, of a pod that is not on Neutron", "ovn", "P", "", "", problem, nil},
	} {
		l := book{}
		if row.claim != nil {
			l[addr("10.1.0.9")] = "net2 pod/a/p"
		}
		got, _, err := parts(Pod(PodFacts{
			Namespace: "a", Name: "p", Subnets: []*v1.Subnet{readySubnet("net2", row.provider)}, Vpcs: []*v1.Vpc{vpcOf(router0, "a")},
			Pod: &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u", Annotations: map[string]string{v1.AnnotationIPAddress: "10.1.0.9"}},
				Spec:       corev1.PodSpec{NodeName: "node1"},
			},
			Leases: l, Claim: row.claim, Project: row.project, ProjectProblem: row.problem,
		}))
		if reason(err) != row.reason || len(got.Ports) == 1 && got.Ports[0].Project != row.want || (err == nil) != (len(got.Ports) == 1) {
			t.Errorf("%s: %v: %+v", row.name, err, got)
		}
	}
}

func TestServicesProject(t *testing.T) {
	f := ServiceFacts{Namespace: "a", Name: "s", Service: &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9"}}, Project: "P"}
	if got, _, err := parts(Service(f)); err != nil || len(got.LoadBalancers) != 1 || got.LoadBalancers[0].Project != "P" {
		t.Errorf("%v: %+v", err, got)
	}
	f.ProjectProblem = intent.Wait{Reason: "UnknownProject"}
	if got, _, err := parts(Service(f)); reason(err) != "UnknownProject" || !got.Empty() {
		t.Errorf("%v: %+v", err, got)
	}
}
