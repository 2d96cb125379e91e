package cloud

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
)

// groups maps the names of OpenStack's own security groups to their ids.
type groups struct {
	find func(ctx context.Context, name string) (string, error)

	mu  sync.Mutex
	ids map[string]string
}

// refresh looks up the ids of all known names, because a group that was deleted
// and created again has another id. Cloud.Refresh finds the ports that lost the
// group. A group that is not found keeps its id, because it may only have been
// renamed.
func (g *groups) refresh(ctx context.Context) {
	g.mu.Lock()
	names := slices.Sorted(maps.Keys(g.ids))
	g.mu.Unlock()
	for _, name := range names {
		if id, err := g.find(ctx, name); err == nil {
			g.set(name, id)
		}
	}
}

func (g *groups) set(name, id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ids == nil {
		g.ids = map[string]string{}
	}
	g.ids[name] = id
}

// id returns the id of a group, by id or name. It asks Neutron once for each
// group. It errs if Neutron cannot be asked, or if no group or several have the
// name.
func (g *groups) id(ctx context.Context, name string) (string, error) {
	g.mu.Lock()
	id, known := g.ids[name]
	g.mu.Unlock()
	if known {
		return id, nil
	}
	id, err := g.find(ctx, name)
	if err == nil && id != name {
		g.set(name, id)
	}
	return id, err
}

// known returns the ids of names. A name whose id is not known is returned
// itself.
func (g *groups) known(names []string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ids []string
	for _, name := range names {
		ids = append(ids, cmp.Or(g.ids[name], name))
	}
	return ids
}

// name returns the name of a group, or its id if the name is not known.
func (g *groups) name(id string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, known := range g.ids {
		if known == id {
			return name
		}
	}
	return id
}

// GroupIDs maps names, which are ids or names of OpenStack's own groups, to ids.
// It leaves out a name that no group or more than one has. It errs if Neutron
// cannot be asked.
func (c *Cloud) GroupIDs(ctx context.Context, names []string) (map[string]string, error) {
	ids := map[string]string{}
	for _, name := range names {
		var wait intent.Wait
		var stop intent.Stop
		id, err := c.groups.id(ctx, name)
		if errors.As(err, &stop) || errors.As(err, &wait) && wait.Reason == neutron.NotFound {
			continue
		}
		if err != nil {
			return ids, err
		}
		ids[name] = id
	}
	return ids, nil
}

// DisplayName returns the name of a security group, or its id if the name is not known.
func (c *Cloud) DisplayName(id string) string {
	if name, ours := c.GroupName(id); ours {
		return name
	}
	return c.groups.name(id)
}

// StandardGroups returns the ids of the settings' security groups. All ids are
// known once Neutron has been read.
func (c *Cloud) StandardGroups() []string { return c.groups.known(c.settings.SecurityGroups) }

// isStandardSet tells whether these are the groups of a pod on the node that asks
// for none and that no NetworkPolicy selects.
func (c *Cloud) isStandardSet(node string, groups []string) bool {
	if !c.settings.Default {
		node = "" // In overlay clusters nodes have no ports in Neutron, hence no groups.
	}
	m, err := policy.NewIndex(nil).Memberships(policy.Pod{Node: node}, policy.CloudGroups{Standard: c.StandardGroups()})
	set := slices.Concat(m.Groups, m.CloudGroups)
	slices.Sort(set)
	return err == nil && slices.Equal(groups, set)
}
