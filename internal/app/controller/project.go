package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// project is the id of the project that a namespace asks for, empty for ours,
// or why there is none. The namespace is nil before it has been read.
func (c *cluster) project(ctx context.Context, namespace string, ns *corev1.Namespace) (string, error) {
	cl := c.cloud.Load()
	if cl == nil {
		return "", nil
	}
	if err := cl.Ready(); err != nil {
		return "", err
	}
	if ns == nil {
		return "", unreadNamespace(namespace)
	}
	id, err := decide.ProjectAsked(ns)
	if err != nil || id == "" {
		return "", err
	}
	return id, cl.CheckProject(ctx, id)
}

// projectOfBalancer is that of the balancer that stands, if one does: it cannot move.
func (c *cluster) projectOfBalancer(ctx context.Context, namespace string, record *kuryr.KuryrLoadBalancer) (id string, problem, err error) {
	if record != nil && record.Status.LoadBalancer != nil && record.Status.LoadBalancer.ProjectID != "" {
		return record.Status.LoadBalancer.ProjectID, nil, nil
	}
	ns, err := kube.Namespace(ctx, c.client, namespace)
	if err != nil {
		return "", nil, err
	}
	id, problem = c.project(ctx, namespace, ns)
	return id, problem, nil
}

// projectsAsked are the ids of all projects that ports are made in.
func (c *cluster) projectsAsked(ctx context.Context) (map[string]bool, error) {
	asked := map[string]bool{c.cloud.Load().Project(): true}
	var all corev1.NamespaceList
	err := c.client.List(ctx, &all)
	for i := range all.Items {
		if id, bad := decide.ProjectAsked(&all.Items[i]); bad == nil && id != "" {
			asked[id] = true
		}
	}
	return asked, err
}
