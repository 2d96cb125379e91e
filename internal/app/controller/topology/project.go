package topology

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// NamespaceUnread is the reason of a Wait for a namespace that the cache does not
// have yet: each kind has its own watch, so an object may arrive before its
// namespace.
const NamespaceUnread = "NamespaceUnread"

// Projects are the OpenStack projects that namespaces ask for.
type Projects struct {
	Client client.Client
	// Cloud is nil without Neutron.
	Cloud *cloud.Cloud
}

// Of returns the id of the project that a namespace asks for; empty for ours. It
// errs if the project cannot be used or checked. ns is nil if it has not been
// read yet.
func (p Projects) Of(ctx context.Context, namespace string, ns *corev1.Namespace) (string, error) {
	if p.Cloud == nil {
		return "", nil
	}
	if err := p.Cloud.Ready(); err != nil {
		return "", err
	}
	if ns == nil {
		return "", intent.Wait{Reason: NamespaceUnread, After: time.Second, For: "namespace " + namespace + " to be read"}
	}
	id, err := decide.ProjectAsked(ns)
	if err != nil || id == "" {
		return "", err
	}
	return id, p.Cloud.CheckProject(ctx, id)
}

// InUse returns the ids of all projects that ports are created in.
func (p Projects) InUse(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{p.Cloud.Project(): true}
	all, err := kube.Namespaces(ctx, p.Client)
	for _, ns := range all {
		if id, err := decide.ProjectAsked(ns); err == nil && id != "" {
			ids[id] = true
		}
	}
	return ids, err
}
