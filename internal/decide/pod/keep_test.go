package pod

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// A running pod keeps its port, whatever its annotations ask for now.
func TestPodKeepsItsPort(t *testing.T) {
	f := nestedFacts()
	f.Nested, f.Parent, f.NodeVpc = false, nil, decidetest.Router
	f.Subnets[0].Name, f.Subnets[0].Spec.Provider, f.Subnets[0].Spec.Vpc = v1.PodSubnet, "neutron", decidetest.Router
	f.Claim = Decide(f).Report()
	decide.Bind(f.Claim, intent.PortStatus{ID: "id", MAC: "fa:16:3e:00:00:07", Addrs: []netip.Prefix{decidetest.Prefix("10.16.0.3/29")}})
	if err := f.Leases.Claim(v1.PodSubnet, "pod/ns/p", []netip.Addr{decidetest.Addr("10.16.0.3")}); err != nil {
		t.Fatal(err)
	}
	f.Pod.Annotations = map[string]string{v1.AnnotationMACAddress: "nonsense", v1.AnnotationSubnet: "nowhere"}
	if want, _, err := decidetest.Parts(Decide(f)); err != nil || len(want.Ports) != 1 {
		t.Errorf("%+v, %v", want, err)
	}
	// The plug of a Neutron port cannot be changed.
	f.Nested, f.Parent = true, nestedFacts().Parent
	decidetest.Keeps(t, "a pod to be plugged otherwise", Decide(f), "UnknownSubnet")
	// Another pod of the same name does not get the port.
	f.Pod = f.Pod.DeepCopy()
	f.Pod.UID = "other"
	if want, called := Decide(f).Want(); !called || !want.Empty() || Decide(f).Report() != nil {
		t.Errorf("a pod of the same name has its port: %+v", want)
	}
}

func TestRefusedSubnetKeepsItsNetwork(t *testing.T) {
	w := newWorld()
	for _, name := range []string{"router", "subnet/a"} {
		w.add(name)
		w.settle(t, known)
	}
	stood := w.applied["subnet/a"]
	a := object[*v1.Subnet](w, "subnet/a")
	a.Spec.NatOutgoing = true
	w.settle(t, known)
	if diff := cmp.Diff(stood, w.applied["subnet/a"], decidetest.Compare); diff != "" || len(stood.RouterInterfaces) != 1 || !w.kept["subnet/a"] {
		t.Errorf("a wrong edit changes the network: %s", diff)
	}
	a.Spec.NatOutgoing = false
	w.settle(t, known)
	if w.kept["subnet/a"] {
		t.Error("it is refused after it was mended")
	}
	a.Spec.NatOutgoing = true
	w.remove("subnet/a")
	w.settle(t, known)
	if w.objects["subnet/a"] != nil || len(w.applied["subnet/a"].Networks) > 0 {
		t.Error("what is refused and deleted stays")
	}
}
