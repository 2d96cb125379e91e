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
	// AnnotationSecurityGroups on a pod lists the groups that its port is a member
	// of, separated by commas. They replace the cluster's standard groups. If a
	// NetworkPolicy selects the pod, the groups permit traffic in addition to the
	// policy. In a direction that no policy isolates, they alone permit traffic.
	AnnotationSecurityGroups = "openstack.org/security-groups"
	// AnnotationAllowedSecurityGroups on a Namespace lists the groups that its
	// pods may ask for; empty for none. Without it they may ask for every group
	// that our OpenStack user may use.
	AnnotationAllowedSecurityGroups = "openstack.org/allowed-security-groups"
	// LabelSecurityGroup in the podSelector of a policy's peer makes the peer an
	// OpenStack security group instead of pods. The selector must be matchLabels
	// with only this key; the value is the group's id or name. In spec.podSelector
	// it selects no pods.
	LabelSecurityGroup = "openstack.org/security-group"
)

// groupRetryDelay is how soon to ask OpenStack again for a group that does not
// exist. OpenStack sends no event when it is created.
const groupRetryDelay = 10 * time.Second

// GroupsAsked returns the OpenStack security groups that a pod asks for, by id or
// name; nil for none. p may be nil.
func GroupsAsked(p *corev1.Pod) []string {
	if p == nil {
		return nil
	}
	return splitList(p.Annotations[AnnotationSecurityGroups])
}

// cloudGroups returns the ids of the groups that a pod asks for; nil if the pod
// has no annotation. It errs with an intent.Stop if the namespace does not allow
// a group, and with an intent.Wait if OpenStack has no such group.
func (p Pod) cloudGroups(ids map[string]string) ([]string, error) {
	if p.Asked == nil {
		return nil, nil
	}
	out := []string{}
	for _, g := range splitList(*p.Asked) {
		if p.Allowed != nil && !slices.Contains(splitList(*p.Allowed), g) {
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
		Reason: "UnknownSecurityGroup", After: groupRetryDelay,
		For: fmt.Sprintf("security group %q (%s) in OpenStack", group, by),
	}
}

// CloudGroupsOf returns the OpenStack security groups that a policy refers to, by
// id or name, sorted.
func CloudGroupsOf(np *netv1.NetworkPolicy) []string {
	var out []string
	for _, a := range readPolicy(np).allows {
		if a.peer.cloud != "" {
			out = append(out, a.peer.cloud)
		}
	}
	return nameSet(out)
}

// withCloudGroups returns the policy with the ids of OpenStack's groups in place of
// their names, and its problem. Peers in an unknown group get no access.
func (p *policy) withCloudGroups(ids map[string]string) (*policy, error) {
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

// splitList returns the words between the commas, without spaces and empty ones.
func splitList(text string) []string {
	var out []string
	for w := range strings.SplitSeq(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// cloudPeer returns the OpenStack security group that a peer's selectors name,
// and whether they name one. It errs if they select anything else too.
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
