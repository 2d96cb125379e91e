package controller

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
)

// Here is which of OpenStack's own security groups have which ids.

// findAgain asks for the groups that are known by name: one that somebody
// deleted and made anew has another id. Whoever has a rule for the old one has
// lost it with the group, and Refresh tells. One that is not found now keeps its
// id: it may only have another name.
func (c *cloud) findAgain(ctx context.Context) {
	c.mu.Lock()
	names := slices.Sorted(maps.Keys(c.groups))
	c.mu.Unlock()
	for _, name := range names {
		if id, err := c.Find(ctx, neutron.SecurityGroup, name); err == nil {
			c.noteGroup(name, id)
		}
	}
}

func (c *cloud) noteGroup(name, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups[name] = id
}

// groupID is that of a group of OpenStack's, by id or name. It asks once.
func (c *cloud) groupID(ctx context.Context, name string) (string, error) {
	c.mu.Lock()
	id, known := c.groups[name]
	c.mu.Unlock()
	if known {
		return id, nil
	}
	id, err := c.Find(ctx, neutron.SecurityGroup, name)
	if err == nil && id != name {
		c.noteGroup(name, id)
	}
	return id, err
}

// groupIDs are the ids of OpenStack's own groups, by id or name. That one is not
// there, or that others have its name, is a fact; that nobody knows, an error.
func (c *cloud) groupIDs(ctx context.Context, names []string) (map[string]string, error) {
	ids := map[string]string{}
	for _, name := range names {
		var wait intent.Wait
		var stop intent.Stop
		id, err := c.groupID(ctx, name)
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

// standard are the ids of the settings' security groups, all of which are known
// once Neutron has been read.
func (c *cloud) standard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, name := range c.settings.SecurityGroups {
		ids = append(ids, cmp.Or(c.groups[name], name))
	}
	return ids
}

// standardSet tells whether these are the groups of a pod that no NetworkPolicy
// knows of and that asks for none.
func (c *cloud) standardSet(node string, groups []string) bool {
	if !c.settings.Default {
		node = "" // nodes have no groups where they are not in Neutron
	}
	m, err := decide.NewPolicyIndex(nil).Memberships(decide.PolicyPod{Node: node}, decide.Clouds{Standard: c.standard()})
	set := slices.Concat(m.Groups, m.CloudGroups)
	slices.Sort(set)
	return err == nil && slices.Equal(groups, set)
}
