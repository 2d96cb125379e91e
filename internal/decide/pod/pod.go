// Package pod decides what one pod asks of the network: one port, and the claim
// that describes it. It does no I/O and knows no fabric.
//
// Decide takes four steps, each with its own file and its own facts: place finds
// the Subnet, claim allocates an address there, attach decides how the pod is
// attached on its node, port returns what the fabric is asked for.
package pod

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Facts are the facts about one pod.
type Facts struct {
	Namespace, Name string
	// Pod is nil if there is no such object. Then only ClaimFacts matter.
	Pod *corev1.Pod
	// Subnets are all Subnets.
	Subnets []*v1.Subnet
	// NodeVpc is the Vpc that the nodes are in; ovn-cluster if empty.
	NodeVpc string

	PlaceFacts
	ClaimFacts
	AttachFacts
	PortFacts
}

// Decide returns what a pod asks of the network. Its report is the claim; nil if
// there must be none.
//
// A pod with a claim keeps it: what the pod asks for counts only when it gets its
// address, because its interface cannot be replaced later.
func Decide(f Facts) intent.Decision[*v1.IP] {
	switch {
	case !NeedsPort(f.Pod):
		return intent.Remove(stickyClaim(f))
	case f.Claim != nil && !ownsClaim(f):
		return intent.Withdraw[*v1.IP](nil, decide.NameTaken(f.Claim))
	}
	ip := presentClaim(f)
	if ip == nil {
		subnet, err := place(f)
		if err != nil {
			return withoutPort(f, err)
		}
		if ip, err = claim(f, subnet); err != nil {
			return withoutPort(f, err)
		}
	}
	how, err := attach(f, ip)
	if err != nil {
		return intent.Withdraw(ip, err) // OpenStack has deleted the parent port.
	}
	want, problem := port(f, ip, how)
	if want.Empty() {
		return withoutPort(f, problem)
	}
	return intent.ApplyWith(want, ip, cmp.Or(problem, how.problem))
}

// withoutPort decides for a pod that can get no port now. This very pod keeps
// what it has; what an earlier pod of its name had is removed.
func withoutPort(f Facts, problem error) intent.Decision[*v1.IP] {
	if attached(f) {
		return intent.Keep(f.Claim, problem)
	}
	return intent.Withdraw[*v1.IP](nil, problem)
}

// NeedsPort is false for a pod that does not exist, has finished, or uses its
// node's network.
func NeedsPort(p *corev1.Pod) bool {
	return p != nil && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// uid returns the pod's UID as the kubelet passes it to the CNI plugin. For a
// static pod this is not the UID of its mirror pod in the API server.
func uid(p *corev1.Pod) string {
	if hash := p.Annotations[corev1.MirrorPodAnnotationKey]; hash != "" {
		return hash
	}
	return string(p.UID)
}

func unitOf(f Facts) intent.Unit { return decide.PodUnit(f.Namespace, f.Name) }
