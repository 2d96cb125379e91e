package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	kuryr "github.com/isthmus-cni/isthmus/api/openstack/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
)

// project is the id of the project that a namespace asks for, empty for ours.
// That there is none is a fact, a problem, and no error.
func (c *cluster) project(ctx context.Context, namespace string) (id string, problem, err error) {
	cl := c.cloud.Load()
	if cl == nil {
		return "", nil, nil
	}
	if unread := cl.unread(); unread != nil {
		return "", unread, nil
	}
	ns, err := get[corev1.Namespace](ctx, c.client, types.NamespacedName{Name: namespace})
	if err != nil {
		return "", nil, err
	}
	if id, problem = decide.ProjectAsked(ns); id == "" {
		return "", problem, nil
	}
	return id, cl.checkProject(ctx, id), nil
}

// projectOfBalancer is that of the balancer that stands, if one does: it cannot move.
func (c *cluster) projectOfBalancer(ctx context.Context, namespace string, record *kuryr.KuryrLoadBalancer) (id string, problem, err error) {
	if record != nil && record.Status.LoadBalancer != nil && record.Status.LoadBalancer.ProjectID != "" {
		return record.Status.LoadBalancer.ProjectID, nil, nil
	}
	if c.cloud.Load().unread() != nil {
		return "", nil, nil // nor is unreadSegment
	}
	return c.project(ctx, namespace)
}

// checkProject asks Keystone once for each project that is there.
func (c *cloud) checkProject(ctx context.Context, id string) error {
	c.mu.Lock()
	known := c.projects[id]
	c.mu.Unlock()
	if known {
		return nil
	}
	if err := c.CheckProject(ctx, id); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.projects[id] = true
	return nil
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
