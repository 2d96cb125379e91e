package decide

import (
	"fmt"
	"slices"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// place finds the pod's Subnet: by its annotation, by the Subnet that names its
// namespace, by the one that is being made for the namespace, by the Vpc that names its namespace and has a default, or the
// cluster's default. Where several fit, a ready one and then the oldest wins.
func (f PodFacts) place() (*v1.Subnet, error) {
	if name := f.Pod.Annotations[v1.AnnotationSubnet]; name != "" {
		return f.named(name, "annotation "+v1.AnnotationSubnet)
	}
	bound := func(s *v1.Subnet) bool { return slices.Contains(s.Spec.Namespaces, f.Namespace) }
	if s := best(f.Subnets, bound); s != nil {
		return s, nil
	}
	if f.OwnSubnet {
		return f.named(NamespaceSubnet(f.Namespace), "the namespace's own")
	}
	if v := f.vpc(); v != nil {
		return f.named(v.Spec.DefaultSubnet, "spec.defaultSubnet of Vpc "+v.Name)
	}
	// What every cluster has is a default, too: one that the user made comes first.
	always := defaultSubnet(f.NodeVpc)
	made := func(s *v1.Subnet) bool { return s.Spec.Default && s.Name != always && f.mayUse(s) == nil }
	if s := best(f.Subnets, made); s != nil {
		return s, nil
	}
	return f.named(always, "the cluster's default")
}

func (f PodFacts) named(name, by string) (*v1.Subnet, error) {
	if s := f.subnet(name); s != nil {
		return s, nil
	}
	return nil, intent.Wait{Reason: "UnknownSubnet", For: fmt.Sprintf("Subnet %s (%s) to be made", name, by)}
}

// vpc is the oldest that names the namespace and has a default Subnet.
func (f PodFacts) vpc() *v1.Vpc {
	var found *v1.Vpc
	for _, v := range f.Vpcs {
		fits := slices.Contains(v.Spec.Namespaces, f.Namespace) && v.Spec.DefaultSubnet != ""
		if fits && (found == nil || older(v, found) < 0) {
			found = v
		}
	}
	return found
}

func best(subnets []*v1.Subnet, fits func(*v1.Subnet) bool) *v1.Subnet {
	var found *v1.Subnet
	for _, s := range subnets {
		if fits(s) && (found == nil || better(s, found)) {
			found = s
		}
	}
	return found
}

func better(a, b *v1.Subnet) bool {
	if ar, br := ready(a) == nil, ready(b) == nil; ar != br {
		return ar
	}
	return older(a, b) < 0
}

// admits says why the pod may not have an address of the Subnet, or not yet.
func (f PodFacts) admits(s *v1.Subnet) error {
	if s.Name == v1.JoinSubnet {
		return intent.Stop{Reason: "NotAllowed", Why: "Subnet join is for nodes only: choose another in annotation " + v1.AnnotationSubnet}
	}
	if err := f.mayUse(s); err != nil {
		return err
	}
	if err := ready(s); err != nil {
		return err
	}
	if (s.Spec.Claim == "onBind" || FabricOf(s) == intent.FabricNeutron) && f.Pod.Spec.NodeName == "" {
		return notBound()
	}
	return nil
}

func notBound() error { return intent.Wait{Reason: NotBound, For: "the pod to be bound to a node"} }

// NotBound is the reason of pods that wait for the scheduler: nothing to tell.
const NotBound = "NotBound"

// mayUse keeps a namespace's pods out of Subnets and Vpcs of others, whatever
// the pods' annotations say.
func (f PodFacts) mayUse(s *v1.Subnet) error {
	if len(s.Spec.Namespaces) > 0 {
		if slices.Contains(s.Spec.Namespaces, f.Namespace) {
			return nil
		}
		return intent.Wait{Reason: "NotAllowed", For: fmt.Sprintf("namespace %s in spec.namespaces of Subnet %s", f.Namespace, s.Name)}
	}
	if External(f.NodeVpc) && s.Name == defaultSubnet(f.NodeVpc) {
		return nil // whichever namespaces may have others of that router's
	}
	i := slices.IndexFunc(f.Vpcs, func(v *v1.Vpc) bool { return v.Name == s.Spec.Vpc })
	if i >= 0 && allows(f.Vpcs[i], f.Namespace, f.NodeVpc) {
		return nil
	}
	return intent.Wait{Reason: "NotAllowed", For: fmt.Sprintf("namespace %s in spec.namespaces of Vpc %s", f.Namespace, s.Spec.Vpc)}
}
