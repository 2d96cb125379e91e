package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// OpenStack's own security groups, by id or name.
const (
	// AnnotationSecurityGroups on a pod names those that its port is a member
	// of, with commas between. They stand in place of the cluster's standard
	// ones. Where a NetworkPolicy selects the pod they add to what it lets
	// through; in a direction that no policy isolates they alone decide.
	AnnotationSecurityGroups = "openstack.org/security-groups"
	// AnnotationAllowedSecurityGroups on a Namespace names those that its pods
	// may ask for; empty for none. Without it they may ask for any that our
	// user may use.
	AnnotationAllowedSecurityGroups = "openstack.org/allowed-security-groups"
	// LabelSecurityGroup in a policy's podSelector makes the peer a security
	// group of OpenStack's and no pods: matchLabels with this key alone, the
	// value its id or name. Elsewhere such a policy selects no pod, and is closed.
	LabelSecurityGroup = "openstack.org/security-group"
)

// lookAgain is how soon to ask OpenStack once more for a group: it tells nobody
// when it gets one.
const lookAgain = 10 * time.Second

// GroupsAsked are OpenStack's security groups that a pod asks for, by id or name.
func GroupsAsked(p *corev1.Pod) []string {
	if p == nil {
		return nil
	}
	return words(p.Annotations[AnnotationSecurityGroups])
}

// cloudGroups are the ids of what a pod asks for: nil if it asks for nothing
// in particular.
func (p Pod) cloudGroups(ids map[string]string) ([]string, error) {
	if p.Asked == nil {
		return nil, nil
	}
	out := []string{}
	for _, g := range words(*p.Asked) {
		if p.Allowed != nil && !slices.Contains(words(*p.Allowed), g) {
			return []string{}, intent.Stop{Reason: "NotAllowed", Why: fmt.Sprintf(
				"annotation %s: namespace %s does not allow security group %q in its annotation %s",
				AnnotationSecurityGroups, p.Namespace, g, AnnotationAllowedSecurityGroups)}
		}
		id, known := ids[g]
		if !known {
			return []string{}, unknownGroup(g, "annotation "+AnnotationSecurityGroups)
		}
		out = append(out, id)
	}
	return out, nil
}

func unknownGroup(group, by string) error {
	return intent.Wait{
		Reason: "UnknownSecurityGroup", After: lookAgain,
		For: fmt.Sprintf("security group %q (%s) in OpenStack", group, by),
	}
}

// CloudGroupsOf are the security groups of OpenStack's that a policy names.
func CloudGroupsOf(np *netv1.NetworkPolicy) []string {
	var out []string
	for _, a := range readPolicy(np).allows {
		if a.peer.cloud != "" {
			out = append(out, a.peer.cloud)
		}
	}
	return nameSet(out)
}

// withClouds is the policy with the ids of OpenStack's groups; who is in one that
// is not known is not let through.
func (p *policy) withClouds(ids map[string]string) (*policy, error) {
	out, problem := *p, p.problem
	out.allows = nil
	for _, a := range p.allows {
		if name := a.peer.cloud; name != "" {
			id, known := ids[name]
			if !known && problem == nil {
				problem = unknownGroup(name, "NetworkPolicy "+p.namespace+"/"+p.name)
			}
			if !known {
				continue
			}
			a.peer.cloud = id
		}
		out.allows = append(out.allows, a)
	}
	return &out, problem
}

// words are what stands between commas.
func words(text string) []string {
	var out []string
	for w := range strings.SplitSeq(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// cloudPeer reads a selector that means a security group of OpenStack's.
func cloudPeer(pods, namespaces *metav1.LabelSelector) (group string, is bool, err error) {
	if pods == nil {
		return "", false, nil
	}
	group, is = pods.MatchLabels[LabelSecurityGroup]
	is = is || slices.ContainsFunc(pods.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool { return r.Key == LabelSecurityGroup })
	if is && (namespaces != nil || group == "" || len(pods.MatchLabels) != 1 || len(pods.MatchExpressions) > 0) {
		return "", true, fmt.Errorf("label %s names a security group and stands alone: matchLabels with its id or name, no other label, no expression, no namespaceSelector", LabelSecurityGroup)
	}
	return group, is, nil
}
