package decide

import (
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// AnnotationProject is the annotation of a namespace with the id of the cloud
// project that owns the ports of its pods and the load balancers of its Services.
const AnnotationProject = "openstack.org/kuryr-project"

// projectID matches every id that Keystone accepts.
var projectID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// ProjectAsked returns the id of the project that a namespace asks for; empty for
// ours. It errs with an intent.Stop if the annotation is not an id. ns may be
// nil.
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

// BadAnnotation returns the intent.Stop for an object with an invalid annotation.
func BadAnnotation(name string, err error) error {
	return intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("annotation %s: %v", name, err)}
}
