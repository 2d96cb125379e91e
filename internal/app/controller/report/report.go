// Package report reports outcomes to Kubernetes: as warning events, and as
// conditions of our objects. It knows which problems are transient.
package report

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/cloud"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/decide/pod"
	"github.com/isthmus-cni/isthmus/internal/ovn"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// Transient are the reasons of problems that end without a user's action. No
// event reports them.
var Transient = []string{pod.NotBound, cloud.Unread, topology.NamespaceUnread, "WaitingForNetwork", "WaitingForGroup", ovn.PortNotUp}

// Reporter reports outcomes as events and conditions.
type Reporter struct{ Events events.EventRecorder }

// Problem records a warning event on o, unless the outcome is done or transient.
func (r Reporter) Problem(o client.Object, out unit.Outcome) {
	if out.State == unit.Done || slices.Contains(Transient, out.Reason) {
		return
	}
	r.Warn(o, out.Reason, out.Message)
}

// Warn records a warning event on o.
func (r Reporter) Warn(o client.Object, reason, message string) {
	r.Events.Eventf(o, nil, corev1.EventTypeWarning, reason, "Connect", "%s", message)
}

// Conditions returns had with the outcome in it, and records an event if the
// condition has changed. If a failure is retried, an object that was ready stays
// ready: what it has in the network still works.
func (r Reporter) Conditions(o client.Object, had []metav1.Condition, out unit.Outcome) []metav1.Condition {
	after := slices.Clone(had)
	retried := out.State == unit.Failed || out.Reason == cloud.Unread || out.Reason == cloud.Unreachable
	if retried && meta.IsStatusConditionTrue(had, v1.ConditionReady) {
		return after
	}
	if meta.SetStatusCondition(&after, out.Condition(o.GetGeneration())) {
		r.Problem(o, out)
	}
	return after
}
