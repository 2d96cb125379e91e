package neutron

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// CheckProject is nil if Keystone has a project of that id, ours or one that our
// user may see. Neutron would take any text for one. Its errors are as those of
// Apply.
func (f *Fabric) CheckProject(ctx context.Context, id string) error {
	a, err := f.api(ctx)
	if err != nil || a.identity == nil || id == a.project {
		return err // without Keystone's address Neutron is the one to refuse
	}
	err = projects.Get(ctx, a.identity, id).Err
	answer, answered := openstack.AnswerOf(err)
	switch {
	case err == nil:
		return nil
	case answered && answer.Code == http.StatusNotFound:
		return intent.Wait{Reason: "UnknownProject", After: later, For: fmt.Sprintf("project %s in Keystone: give a project's id", id)}
	case answered && answer.Code == http.StatusForbidden:
		return a.member(ctx, id)
	}
	return classifyError("find", "project "+id, err)
}

// member is nil if our user has a role in the project: whoever is no
// administrator may ask for those projects only.
func (a *api) member(ctx context.Context, id string) error {
	var all []projects.Project
	err := projects.ListAvailable(a.identity).EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
		found, err := projects.ExtractProjects(p)
		all = append(all, found...)
		return true, err
	})
	switch {
	case err != nil:
		return classifyError("list", "our user's projects", err)
	case !slices.ContainsFunc(all, func(p projects.Project) bool { return p.ID == id }):
		return intent.Wait{Reason: "ForbiddenProject", After: rare, For: fmt.Sprintf("project %s, which our user may not see: give the user a role there", id)}
	}
	return nil
}

// Project is the id of our own project; empty before we have signed in.
func (f *Fabric) Project() string {
	if a := f.session.Load(); a != nil {
		return a.project
	}
	return ""
}
