package controller

import (
	"context"
	"log/slog"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/isthmus-cni/isthmus/internal/app/controller/policies"
	"github.com/isthmus-cni/isthmus/internal/app/controller/services"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/decide/service"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// Everything that the controller maintains is a unit. A unit runs like this:
//
//	Kubernetes ──trigger──┐     triggers.go: kind of object, predicate, map function
//	OVN ──────ovnEvents───┤     sweep.go
//	Neutron, Octavia ─────┤     watch.go
//	policies.Events ──────┘     policies/events.go
//	      │
//	      ▼
//	    queue ──▶ gather ──▶ decide ──▶ hold ──▶ apply ──▶ report
//	             (reads)    (pure)  (finalizer)    │      (status, IP objects, events)
//	                                               ▼
//	                                           fabrics: one of OVN, Neutron, Octavia
//
//	trigger   what starts the unit                       trigger/, triggers.go
//	gather    reads Kubernetes, OVN and Neutron          a type for each kind: pod.go, services/, policies/ …
//	decide    facts to a want, a report and a problem    internal/decide and below
//	apply     a want to rows or resources                fabrics/, then internal/ovn, internal/neutron, internal/octavia
//	report    what came of it, to Kubernetes             the same type as gather; claim/ writes IP objects
//
// internal/unit runs these steps in this order. A unit that waits or fails runs
// again.

// kind is one kind of unit: its Reconciler and its triggers.
type kind struct {
	name     string
	run      reconcile.Reconciler
	workers  int
	triggers []trigger.Trigger
}

// kinds returns all kinds of units, one line each. Pods have many workers, so
// that pods that are created at the same time share a transaction.
func (c *cluster) kinds(f unit.Fabric) []kind {
	r, t := runner{f, c.metrics, c.log}, c.triggers()
	vpcs := vpcUnit{c.client, c.reporter, c.Topology}
	subnets := subnetUnit{c.client, c.Settings, c.reporter, c.Topology, c.claims, c.pools(), c.namespaces()}
	nodes := nodeUnit{c.client, c.reporter, c.Topology, c.claims, c.pools()}
	clusters := clusterUnit{c.client, c.reporter, c.log, c.Topology}
	pods := c.pods()
	all := []kind{
		newKind(r, "vpc", 2, t.vpc(), vpcs.gather, decide.Vpc, vpcs.hold, vpcs.report),
		newKind(r, "subnet", 4, t.subnet(), subnets.gather, decide.Subnet, subnets.hold, subnets.report),
		newKind(r, "node", 4, t.node(), nodes.gather, decide.Node, nil, nodes.report),
		newKind(r, "pod", 32, t.pod(), pods.gather, pod.Decide, nil, pods.report),
	}
	if c.Settings.Neutron != nil {
		policies := policies.Unit{
			Client: c.client, Reporter: c.reporter, Cloud: c.Cloud, Index: c.policies, Members: c.members(),
		}
		all = append(all,
			newKind(r, "cluster", 1, t.cluster(), clusters.gather, decide.Cluster, nil, clusters.report),
			newKind(r, "policy", 4, t.policy(), policies.Gather, policy.Decide, nil, policies.Report),
			newKind(r, "group", 4, nil, policies.GatherGroup, policy.SharedGroup, nil, policies.ReportGroup))
	}
	if !c.Settings.Overlay() {
		services := services.Unit{
			Client: c.client, Reporter: c.reporter, Settings: *c.Settings.Neutron,
			Cloud: c.Cloud, Projects: c.projects(), Members: c.members(),
		}
		all = append(all,
			newKind(r, "service", 8, t.service(), services.Gather, service.Decide, nil, services.Report))
	}
	return all
}

// runner has what all kinds need to run.
type runner struct {
	fabric  unit.Fabric
	metrics *unit.Metrics
	log     *slog.Logger
}

// newKind returns a kind of units. hold may be nil.
//
//nolint:revive // A kind is one line of the table, which names all that belongs to it.
func newKind[F, R any](r runner, name string, workers int, triggers []trigger.Trigger,
	gather func(context.Context, types.NamespacedName) (F, error), decide func(F) intent.Decision[R],
	hold func(context.Context, F, R) error, report func(context.Context, F, R, unit.Outcome) error,
) kind {
	u := unit.Unit[F, R]{Kind: name, Gather: gather, Decide: decide, Hold: hold, Report: report}
	return kind{name, u.On(r.fabric, r.metrics, r.log), workers, triggers}
}
