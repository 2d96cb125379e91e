package neutron

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

// create makes objects of one kind in one call, and returns them as they are.
func (a *api) create(ctx context.Context, steps []plan.Step) ([]wire, error) {
	one := string(steps[0].Kind)
	if len(steps) > 1 {
		return a.createMany(ctx, steps)
	}
	if steps[0].Kind == plan.KindRouterInterface {
		return a.join(ctx, steps[0])
	}
	var made map[string]wire
	_, err := a.client.Post(ctx, a.client.ServiceURL(path(steps[0].Kind)), map[string]any{one: birth(steps[0])}, &made, nil)
	return []wire{made[one]}, exhausted(steps[0], err)
}

func (a *api) createMany(ctx context.Context, steps []plan.Step) ([]wire, error) {
	many := string(steps[0].Kind) + "s"
	var all []plan.Fields
	for _, s := range steps {
		all = append(all, birth(s))
	}
	var made map[string][]wire
	_, err := a.client.Post(ctx, a.client.ServiceURL(path(steps[0].Kind)), map[string]any{many: all}, &made, nil)
	return made[many], classifyError(plan.Create, describe(steps), err)
}

// birth is what an object is made of.
func birth(s plan.Step) plan.Fields {
	f := maps.Clone(s.Fields)
	for _, k := range []string{"parent", "vlan", "node"} {
		delete(f, k) // not said of a port
	}
	for k, v := range f {
		// what a rule leaves out must not be sent as null
		if v == nil && s.Kind == plan.KindRule {
			delete(f, k)
		}
	}
	if len(s.Tags) > 0 {
		f["tags"] = s.Tags
	}
	return f
}

func (a *api) join(ctx context.Context, s plan.Step) ([]wire, error) {
	w, err := a.putRouter(ctx, s, "add_router_interface")
	return []wire{w}, classifyError(plan.Create, describe([]plan.Step{s}), err)
}

func (a *api) putRouter(ctx context.Context, s plan.Step, deed string) (wire, error) {
	var w wire
	address := a.client.ServiceURL("routers", s.Object.Text("router_id"), deed)
	_, err := a.client.Put(ctx, address, plan.Fields{"subnet_id": s.Fields["subnet_id"]}, &w, ok(http.StatusOK))
	return w, err
}

// update changes fields of an object, and returns it as it is then.
func (a *api) update(ctx context.Context, s plan.Step) (wire, error) {
	var made map[string]wire
	body := map[string]any{string(s.Kind): s.Fields}
	_, err := a.client.Put(ctx, a.client.ServiceURL(path(s.Kind), s.ID), body, &made, ok(http.StatusOK))
	return made[string(s.Kind)], classifyError(plan.Update, describe([]plan.Step{s}), err)
}

func (a *api) tag(ctx context.Context, s plan.Step) error {
	_, err := a.client.Put(ctx, a.client.ServiceURL(path(s.Kind), s.ID, "tags"), map[string]any{"tags": s.Tags}, &json.RawMessage{}, ok(http.StatusOK))
	return classifyError(plan.Tag, describe([]plan.Step{s}), err)
}

func (a *api) remove(ctx context.Context, s plan.Step) error {
	if s.Kind == plan.KindRouterInterface {
		_, err := a.putRouter(ctx, s, "remove_router_interface")
		return classifyError(plan.Delete, describe([]plan.Step{s}), err)
	}
	_, err := a.client.Delete(ctx, a.client.ServiceURL(path(s.Kind), s.ID), ok(http.StatusNoContent))
	return classifyError(plan.Delete, describe([]plan.Step{s}), err)
}

func ok(code int) *gophercloud.RequestOpts { return &gophercloud.RequestOpts{OkCodes: []int{code}} }

// describe names what a call is about, for people.
func describe(steps []plan.Step) string {
	s := steps[0]
	if len(steps) > 1 {
		return fmt.Sprintf("%d %ss", len(steps), words(s.Kind))
	}
	return strings.TrimSpace(words(s.Kind) + " " + s.Name)
}

func words(k plan.Kind) string { return strings.ReplaceAll(string(k), "_", " ") }
