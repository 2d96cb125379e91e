package pod

import (
	"fmt"
	"slices"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PlaceFacts are the facts, besides the Subnets, about which Subnets the pod's
// namespace may use.
type PlaceFacts struct {
	Vpcs []*v1.Vpc
	// OwnSubnet is true if the namespace is to have a Subnet of its own.
	OwnSubnet bool
}

// place returns the Subnet that the pod is to have an address in. It errs if
// there is none. It returns both the Subnet and an error if the pod may not have
// an address there, or not yet.
func place(f Facts) (*v1.Subnet, error) {
	s, err := findSubnet(f)
	if err != nil {
		return nil, err
	}
	return s, checkAllowed(f, s)
}

// findSubnet returns the first of these:
//
//   - the Subnet in the pod's annotation,
//   - the Subnet that names the pod's namespace,
//   - the namespace's own Subnet, which is being created,
//   - the default Subnet of the Vpc that names the namespace,
//   - a default Subnet that a user created,
//   - the cluster's default Subnet.
//
// If several Subnets match, a ready one wins over one that is not ready, then the
// oldest wins. It errs with an intent.Wait if the Subnet does not exist.
func findSubnet(f Facts) (*v1.Subnet, error) {
	if name := f.Pod.Annotations[v1.AnnotationSubnet]; name != "" {
		return namedSubnet(f, name, "annotation "+v1.AnnotationSubnet)
	}
	bound := func(s *v1.Subnet) bool { return slices.Contains(s.Spec.Namespaces, f.Namespace) }
	if s := bestSubnet(f.Subnets, bound); s != nil {
		return s, nil
	}
	if f.OwnSubnet {
		return namedSubnet(f, decide.NamespaceSubnet(f.Namespace), "the namespace's own")
	}
	if v := defaultVpc(f); v != nil {
		return namedSubnet(f, v.Spec.DefaultSubnet, "spec.defaultSubnet of Vpc "+v.Name)
	}
	// The cluster's default has spec.default too. A default of the user comes
	// first.
	always := decide.DefaultSubnet(f.NodeVpc)
	made := func(s *v1.Subnet) bool { return s.Spec.Default && s.Name != always && mayUse(f, s) == nil }
	if s := bestSubnet(f.Subnets, made); s != nil {
		return s, nil
	}
	return namedSubnet(f, always, "the cluster's default")
}

func namedSubnet(f Facts, name, by string) (*v1.Subnet, error) {
	if s := subnet(f, name); s != nil {
		return s, nil
	}
	return nil, intent.Wait{Reason: "UnknownSubnet", For: fmt.Sprintf("Subnet %s (%s) to be made", name, by)}
}

// defaultVpc returns the oldest Vpc that names the namespace and has a default
// Subnet; nil if there is none.
func defaultVpc(f Facts) *v1.Vpc {
	var found *v1.Vpc
	for _, v := range f.Vpcs {
		fits := slices.Contains(v.Spec.Namespaces, f.Namespace) && v.Spec.DefaultSubnet != ""
		if fits && (found == nil || decide.Older(v, found) < 0) {
			found = v
		}
	}
	return found
}

func bestSubnet(subnets []*v1.Subnet, fits func(*v1.Subnet) bool) *v1.Subnet {
	var found *v1.Subnet
	for _, s := range subnets {
		if fits(s) && (found == nil || isBetter(s, found)) {
			found = s
		}
	}
	return found
}

func isBetter(a, b *v1.Subnet) bool {
	if ar, br := decide.Ready(a) == nil, decide.Ready(b) == nil; ar != br {
		return ar
	}
	return decide.Older(a, b) < 0
}

// checkAllowed returns why the pod may not have an address of the Subnet, or not
// yet; nil if it may.
func checkAllowed(f Facts, s *v1.Subnet) error {
	if s.Name == v1.JoinSubnet {
		return intent.Stop{Reason: "NotAllowed", Why: "Subnet join is for nodes only: choose another in annotation " + v1.AnnotationSubnet}
	}
	if err := mayUse(f, s); err != nil {
		return err
	}
	if err := decide.Ready(s); err != nil {
		return err
	}
	if (s.Spec.Claim == "onBind" || decide.FabricOf(s) == intent.FabricNeutron) && f.Pod.Spec.NodeName == "" {
		return notBound()
	}
	return nil
}

func notBound() error { return intent.Wait{Reason: NotBound, For: "the pod to be bound to a node"} }

// NotBound is the reason of a pod that waits for the scheduler. It is normal, so
// no event reports it.
const NotBound = "NotBound"

// mayUse returns an intent.Wait if the Subnet or its Vpc is reserved for other
// namespaces; nil if the pod may use it. The pod's annotation cannot override
// this.
func mayUse(f Facts, s *v1.Subnet) error {
	if len(s.Spec.Namespaces) > 0 {
		if slices.Contains(s.Spec.Namespaces, f.Namespace) {
			return nil
		}
		return intent.Wait{Reason: "NotAllowed", For: fmt.Sprintf("namespace %s in spec.namespaces of Subnet %s", f.Namespace, s.Name)}
	}
	if decide.External(f.NodeVpc) && s.Name == decide.DefaultSubnet(f.NodeVpc) {
		return nil // whichever namespaces may use other Subnets of that router
	}
	i := slices.IndexFunc(f.Vpcs, func(v *v1.Vpc) bool { return v.Name == s.Spec.Vpc })
	if i >= 0 && decide.Allows(f.Vpcs[i], f.Namespace, f.NodeVpc) {
		return nil
	}
	return intent.Wait{Reason: "NotAllowed", For: fmt.Sprintf("namespace %s in spec.namespaces of Vpc %s", f.Namespace, s.Spec.Vpc)}
}

// subnet returns the Subnet of that name; nil if there is none.
func subnet(f Facts, name string) *v1.Subnet {
	if i := slices.IndexFunc(f.Subnets, func(s *v1.Subnet) bool { return s.Name == name }); i >= 0 {
		return f.Subnets[i]
	}
	return nil
}

// vpcOf returns the Vpc of the Subnet of that name; empty if there is no such
// Subnet.
func vpcOf(f Facts, name string) string {
	if s := subnet(f, name); s != nil {
		return s.Spec.Vpc
	}
	return ""
}
