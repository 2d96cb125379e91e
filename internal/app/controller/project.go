package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// projects are the OpenStack projects that namespaces ask for.
type projects struct {
	client client.Client
	// cloud is nil where there is no Neutron.
	cloud *cloud.Cloud
}

// of returns the id of the project that a namespace asks for: empty for ours, an
// error if there is none. ns is nil before it has been read.
func (p projects) of(ctx context.Context, namespace string, ns *corev1.Namespace) (string, error) {
	if p.cloud == nil {
		return "", nil
	}
	if err := p.cloud.Ready(); err != nil {
		return "", err
	}
	if ns == nil {
		return "", unreadNamespace(namespace)
	}
	id, err := decide.ProjectAsked(ns)
	if err != nil || id == "" {
		return "", err
	}
	return id, p.cloud.CheckProject(ctx, id)
}

// inUse returns the ids of all projects that ports are created in.
func (p projects) inUse(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{p.cloud.Project(): true}
	all, err := kube.Namespaces(ctx, p.client)
	for _, ns := range all {
		if id, err := decide.ProjectAsked(ns); err == nil && id != "" {
			ids[id] = true
		}
	}
	return ids, err
}
