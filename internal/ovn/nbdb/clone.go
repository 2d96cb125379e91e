package nbdb

import (
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/model"
)

// The client copies a row each time that it reads or changes it. It copies rows
// without these methods by way of JSON, which takes 20 times as long.

// CloneModel copies the row.
func (r *LogicalSwitch) CloneModel() model.Model {
	c := *r
	c.OtherConfig, c.ExternalIDs = maps.Clone(r.OtherConfig), maps.Clone(r.ExternalIDs)
	c.LoadBalancer = slices.Clone(r.LoadBalancer)
	return &c
}

// CloneModel copies the row.
func (r *LogicalSwitchPort) CloneModel() model.Model {
	c := *r
	c.Addresses, c.PortSecurity = slices.Clone(r.Addresses), slices.Clone(r.PortSecurity)
	c.Options, c.ExternalIDs = maps.Clone(r.Options), maps.Clone(r.ExternalIDs)
	c.ParentName, c.Tag, c.Up = pointer(r.ParentName), pointer(r.Tag), pointer(r.Up)
	return &c
}

// CloneModel copies the row.
func (r *LogicalRouter) CloneModel() model.Model {
	c := *r
	c.Ports, c.LoadBalancer = slices.Clone(r.Ports), slices.Clone(r.LoadBalancer)
	c.ExternalIDs = maps.Clone(r.ExternalIDs)
	return &c
}

// CloneModel copies the row.
func (r *LogicalRouterPort) CloneModel() model.Model {
	c := *r
	c.Networks, c.ExternalIDs = slices.Clone(r.Networks), maps.Clone(r.ExternalIDs)
	return &c
}

// CloneModel copies the row.
func (r *LogicalRouterPolicy) CloneModel() model.Model {
	c := *r
	c.Nexthops, c.ExternalIDs = slices.Clone(r.Nexthops), maps.Clone(r.ExternalIDs)
	return &c
}

// CloneModel copies the row.
func (r *LogicalRouterRoute) CloneModel() model.Model {
	c := *r
	c.ExternalIDs = maps.Clone(r.ExternalIDs)
	return &c
}

// CloneModel copies the row.
func (r *PortGroup) CloneModel() model.Model {
	c := *r
	c.ExternalIDs = maps.Clone(r.ExternalIDs)
	return &c
}

// CloneModelInto copies the row over another.
func (r *LogicalSwitch) CloneModelInto(m model.Model) {
	*m.(*LogicalSwitch) = *r.CloneModel().(*LogicalSwitch)
}

// CloneModelInto copies the row over another.
func (r *LogicalSwitchPort) CloneModelInto(m model.Model) {
	*m.(*LogicalSwitchPort) = *r.CloneModel().(*LogicalSwitchPort)
}

// CloneModelInto copies the row over another.
func (r *LogicalRouter) CloneModelInto(m model.Model) {
	*m.(*LogicalRouter) = *r.CloneModel().(*LogicalRouter)
}

// CloneModelInto copies the row over another.
func (r *LogicalRouterPort) CloneModelInto(m model.Model) {
	*m.(*LogicalRouterPort) = *r.CloneModel().(*LogicalRouterPort)
}

// CloneModelInto copies the row over another.
func (r *LogicalRouterPolicy) CloneModelInto(m model.Model) {
	*m.(*LogicalRouterPolicy) = *r.CloneModel().(*LogicalRouterPolicy)
}

// CloneModelInto copies the row over another.
func (r *LogicalRouterRoute) CloneModelInto(m model.Model) {
	*m.(*LogicalRouterRoute) = *r.CloneModel().(*LogicalRouterRoute)
}

// CloneModelInto copies the row over another.
func (r *PortGroup) CloneModelInto(m model.Model) {
	*m.(*PortGroup) = *r.CloneModel().(*PortGroup)
}

func pointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
