package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// ExtQuotas is the extension that shows how much of a quota is used.
const ExtQuotas = "quota_details"

// Quota has the limit of a kind of object in our project, negative if unlimited, and the
// number in use.
type Quota struct{ Limit, Used int }

// Quotas returns the quotas of our project by Neutron's name of the kind, such as
// "security_group". It returns none if this Neutron does not report them.
func (a *Client) Quotas(ctx context.Context) (map[string]Quota, error) {
	if !a.Extensions[ExtQuotas] {
		return nil, nil
	}
	var answer struct {
		Quota map[string]struct{ Limit, Used, Reserved int }
	}
	_, err := a.Networking.Get(ctx, a.Networking.ServiceURL("quotas", a.Project, "details.json"), &answer, ok(http.StatusOK))
	out := map[string]Quota{}
	for kind, q := range answer.Quota {
		out[kind] = Quota{q.Limit, q.Used + q.Reserved}
	}
	return out, classifyError("ask for", "the quotas of project "+a.Project, err)
}

// CheckProject returns nil if our user may use a project. Administrators may use any
// project, other users those in which they have a role.
func (a *Client) CheckProject(ctx context.Context, id string) error {
	err := projects.Get(ctx, a.Identity, id).Err
	answer, answered := openstack.AnswerOf(err)
	switch {
	case err == nil:
		return nil
	case answered && answer.Code == http.StatusNotFound:
		return intent.Wait{Reason: "UnknownProject", After: LongWait, For: fmt.Sprintf("project %s in Keystone: give a project's id", id)}
	case answered && answer.Code == http.StatusForbidden:
		return a.checkMember(ctx, id)
	}
	return classifyError("find", "project "+id, err)
}

// checkMember returns nil if our user has a role in the project. Users who are not
// administrators may list only such projects.
func (a *Client) checkMember(ctx context.Context, id string) error {
	var all []projects.Project
	err := projects.ListAvailable(a.Identity).EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
		found, err := projects.ExtractProjects(p)
		all = append(all, found...)
		return true, err
	})
	switch {
	case err != nil:
		return classifyError("list", "our user's projects", err)
	case !slices.ContainsFunc(all, func(p projects.Project) bool { return p.ID == id }):
		return intent.Wait{Reason: "ForbiddenProject", After: rareWait, For: fmt.Sprintf("project %s, which our user may not see: give the user a role there", id)}
	}
	return nil
}

// ReasonNotFound is the reason of the intent.Wait for an object that does not exist.
const ReasonNotFound = "NotFound"

// UUID matches a text in the form of an id.
var UUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Find returns the one object that matches a query. An object of our project is
// preferred. Find returns an intent.Wait if there is no match, and an intent.Stop if
// there are several.
func (a *Client) Find(ctx context.Context, what string, query url.Values, name string) (Resource, error) {
	found, err := a.List(ctx, plan.Kind(what), query)
	if own := slices.DeleteFunc(slices.Clone(found), func(w Resource) bool { return w.Project != a.Project }); len(own) > 0 {
		found = own
	}
	switch {
	case err != nil:
		return Resource{}, fmt.Errorf("find %s %s: %w", what, name, err)
	case len(found) == 0:
		return Resource{}, intent.Wait{Reason: ReasonNotFound, For: fmt.Sprintf("%s %s in Neutron", what, name), After: LongWait}
	case len(found) > 1:
		return Resource{}, intent.Stop{Reason: "Ambiguous", Why: fmt.Sprintf("%d of Neutron's %ss are named %s: give the id", len(found), what, name)}
	}
	return found[0], nil
}

// classifyCreateError maps the error of a call that creates an object, as classifyError
// does. It also knows that Neutron answers with status 500, and without a reason, when a
// subnet pool has no prefix left.
func classifyCreateError(s plan.Step, err error) error {
	doing := Describe([]plan.Step{s})
	a, answered := openstack.AnswerOf(err)
	if s.Kind != plan.KindSubnet || s.Fields["subnetpool_id"] == nil || !answered || a.Code != http.StatusInternalServerError {
		return classifyError(plan.Create, doing, err)
	}
	return intent.Wait{Reason: "SubnetPoolFull", After: rareWait, For: fmt.Sprintf(
		"%s %s: a free prefix in subnet pool %s, it seems: Neutron fails where a pool has none (%s)", plan.Create, doing, s.Fields["subnetpool_id"], a.Text)}
}
