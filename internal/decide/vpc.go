package decide

import (
	"fmt"
	"slices"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// VpcFacts are the facts about one Vpc.
type VpcFacts struct {
	Name string
	// Vpc is nil if there is no such object.
	Vpc *v1.Vpc
	// Router is the router of that name; nil if there is none.
	Router *Router
	// Subnets are the Subnets whose spec.vpc names it, sorted.
	Subnets []*v1.Subnet
	// NodeVpc is the Vpc that the nodes are in; ovn-cluster if empty.
	NodeVpc string
}

// Action is what the controller does with an object besides writing its status.
type Action string

// The actions. An empty Action leaves the object alone.
const (
	// Make creates the object, or sets its label.
	Make Action = "make"
	// Remove deletes it.
	Remove Action = "remove"
	// Hold adds our finalizer before anything is applied.
	Hold Action = "hold"
	// Release removes our finalizer once nothing of the object is left in the
	// network.
	Release Action = "release"
)

// VpcReport is what is reported to Kubernetes about a Vpc.
type VpcReport struct {
	Action Action
	Status v1.VpcStatus
}

// Vpc decides a router of ours for each Vpc that is not a Neutron router. For a
// Neutron router it decides the Vpc object instead: it never creates, changes or
// deletes such a router.
func Vpc(f VpcFacts) intent.Decision[VpcReport] {
	if External(f.Name) {
		return externalVpc(f)
	}
	return ourVpc(f)
}

// externalVpc keeps the Vpc object of a Neutron router in step with the router:
// it creates, labels or deletes the object.
func externalVpc(f VpcFacts) intent.Decision[VpcReport] {
	there := isForeign(f.Router)
	switch {
	case f.Vpc == nil && there:
		return intent.Remove(VpcReport{Action: Make})
	case f.Vpc == nil:
		return intent.Remove(VpcReport{})
	case there && f.Vpc.Labels[v1.LabelVpcExternal] != "true":
		return intent.Remove(VpcReport{Action: Make, Status: vpcStatus(f)})
	case there:
		return intent.Remove(VpcReport{Status: vpcStatus(f)})
	case f.Vpc.Labels[v1.LabelVpcExternal] == "true" && f.Vpc.Status.Router != "" && len(f.Subnets) == 0:
		return intent.Remove(VpcReport{Action: Remove})
	}
	// A Vpc object that was created before its router, or that a Subnet still uses,
	// is kept: its spec.namespaces belongs to the user.
	return intent.Keep(VpcReport{Status: vpcStatus(f)}, routerGone(f.Name))
}

func routerGone(name string) error {
	return intent.Wait{Reason: "RouterGone", For: fmt.Sprintf("Neutron's router %s, which is not in OVN: make it again or delete what uses it", name)}
}

// ourVpc wants a router as long as the Vpc exists or a Subnet uses it.
func ourVpc(f VpcFacts) intent.Decision[VpcReport] {
	switch {
	case f.Name == NodeVpcOf(f.NodeVpc):
		return defaultVpc(f)
	case f.Vpc == nil:
		return intent.Remove(VpcReport{})
	}
	report := VpcReport{Action: Hold, Status: vpcStatus(f)}
	switch {
	case f.Vpc.DeletionTimestamp.IsZero() && isForeign(f.Router):
		return intent.Keep(report, routerTaken(f.Name))
	case f.Vpc.DeletionTimestamp.IsZero():
		return intent.Apply(routerWant(f.Name), report)
	case len(f.Subnets) > 0:
		report.Action = ""
		return intent.ApplyWith(routerWant(f.Name), report, intent.Wait{Reason: "InUse", For: listNames("the deletion of Subnet", f.Subnets, subnetName)})
	}
	report.Action = Release
	return intent.Remove(report)
}

// defaultVpc wants the router even if the object does not exist. Every cluster
// has this Vpc, so the controller creates the object again if a user deletes it.
func defaultVpc(f VpcFacts) intent.Decision[VpcReport] {
	if f.Vpc == nil {
		return intent.Apply(routerWant(f.Name), VpcReport{Action: Make})
	}
	report := VpcReport{Status: vpcStatus(f)}
	if !f.Vpc.DeletionTimestamp.IsZero() {
		report.Action = Release
	}
	switch {
	case isForeign(f.Router) && report.Action == Release:
		return intent.Withdraw(report, routerTaken(f.Name)) // otherwise the object could never be deleted
	case isForeign(f.Router):
		return intent.Keep(report, routerTaken(f.Name))
	}
	return intent.Apply(routerWant(f.Name), report)
}

func isForeign(r *Router) bool { return r != nil && !r.Ours }

func routerWant(name string) intent.Want {
	return intent.Want{Routers: []intent.Router{{Name: name}}}
}

func routerTaken(name string) error {
	return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("OVN has a router %s that is not ours: choose another name", name)}
}

func subnetName(s *v1.Subnet) string { return s.Name }

func vpcStatus(f VpcFacts) v1.VpcStatus {
	s := v1.VpcStatus{Default: f.Name == NodeVpcOf(f.NodeVpc), Router: f.Vpc.Status.Router}
	if f.Router != nil {
		s.Standby, s.Router = true, f.Router.Name
		s.Subnets = slices.Clone(f.Router.Networks)
		slices.Sort(s.Subnets)
	}
	if slices.ContainsFunc(f.Subnets, func(n *v1.Subnet) bool { return n.Name == f.Vpc.Spec.DefaultSubnet }) {
		s.DefaultLogicalSwitch = f.Vpc.Spec.DefaultSubnet
	}
	return s
}
