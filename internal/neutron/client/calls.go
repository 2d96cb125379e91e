package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

// Create creates objects of one kind in one call, and returns them as Neutron shows them.
// After an error the result may have a Resource without an id.
func (a *Client) Create(ctx context.Context, steps []plan.Step) ([]Resource, error) {
	one := string(steps[0].Kind)
	if len(steps) > 1 {
		return a.createMany(ctx, steps)
	}
	if steps[0].Kind == plan.KindRouterInterface {
		return a.addInterface(ctx, steps[0])
	}
	var created map[string]Resource
	_, err := a.Networking.Post(ctx, a.Networking.ServiceURL(path(steps[0].Kind)), map[string]any{one: createBody(steps[0])}, &created, nil)
	return []Resource{created[one]}, classifyCreateError(steps[0], err)
}

func (a *Client) createMany(ctx context.Context, steps []plan.Step) ([]Resource, error) {
	many := string(steps[0].Kind) + "s"
	var all []plan.Fields
	for _, s := range steps {
		all = append(all, createBody(s))
	}
	var created map[string][]Resource
	_, err := a.Networking.Post(ctx, a.Networking.ServiceURL(path(steps[0].Kind)), map[string]any{many: all}, &created, nil)
	return created[many], classifyError(plan.Create, Describe(steps), err)
}

// createBody returns the body of the call that creates the step's object.
func createBody(s plan.Step) plan.Fields {
	f := maps.Clone(s.Fields)
	for _, k := range []string{"parent", "vlan", "node"} {
		delete(f, k) // Neutron's ports have no such fields
	}
	for k, v := range f {
		// Neutron refuses null in a rule's fields.
		if v == nil && s.Kind == plan.KindRule {
			delete(f, k)
		}
	}
	if len(s.Tags) > 0 {
		f["tags"] = s.Tags
	}
	return f
}

func (a *Client) addInterface(ctx context.Context, s plan.Step) ([]Resource, error) {
	w, err := a.putRouter(ctx, s, "add_router_interface")
	return []Resource{w}, classifyError(plan.Create, Describe([]plan.Step{s}), err)
}

func (a *Client) putRouter(ctx context.Context, s plan.Step, action string) (Resource, error) {
	var w Resource
	address := a.Networking.ServiceURL("routers", s.Text("router_id"), action)
	_, err := a.Networking.Put(ctx, address, plan.Fields{"subnet_id": s.Fields["subnet_id"]}, &w, ok(http.StatusOK))
	return w, err
}

// Update changes fields of an object, and returns the changed object.
func (a *Client) Update(ctx context.Context, s plan.Step) (Resource, error) {
	var created map[string]Resource
	body := map[string]any{string(s.Kind): s.Fields}
	_, err := a.Networking.Put(ctx, a.Networking.ServiceURL(path(s.Kind), s.ID), body, &created, ok(http.StatusOK))
	return created[string(s.Kind)], classifyError(plan.Update, Describe([]plan.Step{s}), err)
}

// Tag replaces the tags of the step's object.
func (a *Client) Tag(ctx context.Context, s plan.Step) error {
	_, err := a.Networking.Put(ctx, a.Networking.ServiceURL(path(s.Kind), s.ID, "tags"), map[string]any{"tags": s.Tags}, &json.RawMessage{}, ok(http.StatusOK))
	return classifyError(plan.Tag, Describe([]plan.Step{s}), err)
}

// Delete deletes the step's object. It returns nil if the object does not exist.
func (a *Client) Delete(ctx context.Context, s plan.Step) error {
	if s.Kind == plan.KindRouterInterface {
		_, err := a.putRouter(ctx, s, "remove_router_interface")
		return classifyError(plan.Delete, Describe([]plan.Step{s}), err)
	}
	_, err := a.Networking.Delete(ctx, a.Networking.ServiceURL(path(s.Kind), s.ID), ok(http.StatusNoContent))
	return classifyError(plan.Delete, Describe([]plan.Step{s}), err)
}

func ok(code int) *gophercloud.RequestOpts { return &gophercloud.RequestOpts{OkCodes: []int{code}} }

// Describe names the objects of a call, for people.
func Describe(steps []plan.Step) string {
	s := steps[0]
	if len(steps) > 1 {
		return fmt.Sprintf("%d %ss", len(steps), words(s.Kind))
	}
	return strings.TrimSpace(words(s.Kind) + " " + s.Name)
}

func words(k plan.Kind) string { return strings.ReplaceAll(string(k), "_", " ") }
