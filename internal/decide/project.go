package decide

import (
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// AnnotationProject on a namespace is the id of the cloud project that owns the
// ports of its pods and the balancers of its Services.
const AnnotationProject = "openstack.org/kuryr-project"

// projectID is what Keystone's ids look like, whoever gave them.
var projectID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// ProjectAsked is the id of the project that a namespace asks for; empty for ours.
func ProjectAsked(ns *corev1.Namespace) (string, error) {
	if ns == nil {
		return "", nil
	}
	id := ns.Annotations[AnnotationProject]
	if id != "" && !projectID.MatchString(id) {
		return "", intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("annotation %s of namespace %s: %q is not the id of a project", AnnotationProject, ns.Name, id)}
	}
	return id, nil
}

// BadAnnotation refuses an object for one of its annotations.
func BadAnnotation(name string, err error) error {
	return intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("annotation %s: %v", name, err)}
}
