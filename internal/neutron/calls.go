package neutron

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// create makes objects of one kind in one call, and returns them as they are.
func (a *api) create(ctx context.Context, steps []step) ([]wire, error) {
	one := string(steps[0].kind)
	if len(steps) > 1 {
		return a.createMany(ctx, steps)
	}
	if steps[0].kind == kindJoin {
		return a.join(ctx, steps[0])
	}
	var made map[string]wire
	_, err := a.client.Post(ctx, a.client.ServiceURL(steps[0].kind.path()), map[string]any{one: birth(steps[0])}, &made, nil)
	return []wire{made[one]}, exhausted(steps[0], err)
}

func (a *api) createMany(ctx context.Context, steps []step) ([]wire, error) {
	many := string(steps[0].kind) + "s"
	var all []fields
	for _, s := range steps {
		all = append(all, birth(s))
	}
	var made map[string][]wire
	_, err := a.client.Post(ctx, a.client.ServiceURL(steps[0].kind.path()), map[string]any{many: all}, &made, nil)
	return made[many], classifyError(create, describe(steps), err)
}

// birth is what an object is made of.
func birth(s step) fields {
	f := maps.Clone(s.fields)
	for _, k := range []string{"parent", "vlan", "node"} {
		delete(f, k) // not said of a port
	}
	for k, v := range f {
		// what a rule leaves out must not be sent as null
		if v == nil && s.kind == kindRule {
			delete(f, k)
		}
	}
	if len(s.tags) > 0 {
		f["tags"] = s.tags
	}
	return f
}

func (a *api) join(ctx context.Context, s step) ([]wire, error) {
	w, err := a.putRouter(ctx, s, "add_router_interface")
	return []wire{w}, classifyError(create, describe([]step{s}), err)
}

func (a *api) putRouter(ctx context.Context, s step, deed string) (wire, error) {
	var w wire
	address := a.client.ServiceURL("routers", text(s.object, "router_id"), deed)
	_, err := a.client.Put(ctx, address, fields{"subnet_id": s.fields["subnet_id"]}, &w, ok(http.StatusOK))
	return w, err
}

// update changes fields of an object, and returns it as it is then.
func (a *api) update(ctx context.Context, s step) (wire, error) {
	var made map[string]wire
	body := map[string]any{string(s.kind): s.fields}
	_, err := a.client.Put(ctx, a.client.ServiceURL(s.kind.path(), s.id), body, &made, ok(http.StatusOK))
	return made[string(s.kind)], classifyError(update, describe([]step{s}), err)
}

func (a *api) tag(ctx context.Context, s step) error {
	_, err := a.client.Put(ctx, a.client.ServiceURL(s.kind.path(), s.id, "tags"), map[string]any{"tags": s.tags}, &json.RawMessage{}, ok(http.StatusOK))
	return classifyError(tag, describe([]step{s}), err)
}

func (a *api) remove(ctx context.Context, s step) error {
	if s.kind == kindJoin {
		_, err := a.putRouter(ctx, s, "remove_router_interface")
		return classifyError(remove, describe([]step{s}), err)
	}
	_, err := a.client.Delete(ctx, a.client.ServiceURL(s.kind.path(), s.id), ok(http.StatusNoContent))
	return classifyError(remove, describe([]step{s}), err)
}

func ok(code int) *gophercloud.RequestOpts { return &gophercloud.RequestOpts{OkCodes: []int{code}} }

// describe names what a call is about, for people.
func describe(steps []step) string {
	s := steps[0]
	if len(steps) > 1 {
		return fmt.Sprintf("%d %ss", len(steps), words(s.kind))
	}
	return strings.TrimSpace(words(s.kind) + " " + s.name)
}

func words(k kind) string { return strings.ReplaceAll(string(k), "_", " ") }
