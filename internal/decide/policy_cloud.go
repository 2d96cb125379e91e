package decide

import (
	"fmt"
	"slices"
	"strings"

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

// cloudGroups reads what a pod asks for: nil if it asks for nothing in particular.
func (p PolicyPod) cloudGroups() ([]string, error) {
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
		out = append(out, g)
	}
	return out, nil
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
