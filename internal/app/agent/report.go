package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/agent/plugmode"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// annotate writes the Node's annotations that differ. It returns plugmode.ErrChanged,
// wrapped, if the Node's label asks for the other mode.
func (n *node) annotate(ctx context.Context) error {
	object, err := n.object(ctx)
	if object == nil || err != nil {
		return err
	}
	if !n.plugFixed {
		if err := plugmode.CheckLabel(object, n.plugger.attacher.mode()); err != nil {
			return err
		}
	}
	wanted, err := n.annotations()
	if err != nil {
		return err
	}
	maps.DeleteFunc(wanted, func(key, value string) bool { return object.Annotations[key] == value })
	if len(wanted) == 0 {
		return nil
	}
	if err := patchAnnotations(ctx, n.kube.client, n.name, wanted); err != nil {
		return err
	}
	n.log.Info("Node annotated", "node", n.name, "annotations", wanted)
	return nil
}

// annotations returns what the controller must know of this node: how pods are plugged,
// and either the underlay's MTU or the MAC addresses by which the controller finds the
// node's trunk port.
func (n *node) annotations() (map[string]string, error) {
	all := map[string]string{v1.Plug: string(n.plugger.attacher.mode())}
	if n.trunk != nil {
		macs, err := n.machine.MACs()
		all[v1.AnnotationMACs] = strings.Join(macs, ",")
		return all, err
	}
	if mtu, _ := n.underlay(); mtu != 0 {
		all[v1.AnnotationUnderlayMTU] = strconv.Itoa(mtu)
	}
	return all, nil
}

// patchAnnotations writes annotations of a Node. T is string, or *string, of which nil
// removes an annotation.
func patchAnnotations[T any](ctx context.Context, w client.Writer, node string, annotations map[string]T) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := w.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("annotate Node %s: %w", node, err)
	}
	return nil
}

// recordRefusals records an event for each pod that cannot be probed and has none yet.
func (n *node) recordRefusals(ctx context.Context, refusals []nodenet.Refusal) {
	now := map[nodenet.Refusal]bool{}
	for _, r := range refusals {
		if !n.recorded[r] {
			n.recordRefusal(ctx, r)
		}
		now[r] = true
	}
	n.recorded = now
}

func (n *node) recordRefusal(ctx context.Context, r nodenet.Refusal) {
	namespace, name, _ := strings.Cut(r.Pod, "/")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: n.podUID(ctx, r.Pod)}}
	n.kube.events.Eventf(pod, nil, corev1.EventTypeWarning, "NoProbePath", "Connect", "%s", r.Why)
}

// podUID returns the UID of a pod that is plugged on this node; empty if unknown.
func (n *node) podUID(ctx context.Context, pod string) (found types.UID) {
	if n.trunk != nil {
		pods, _ := n.nested(ctx)
		for _, p := range pods {
			if p.claim.Spec.Namespace+"/"+p.claim.Spec.PodName == pod {
				found = types.UID(p.claim.Spec.PodUID)
			}
		}
		return found
	}
	for _, port := range n.ovs.Ports(plug.KeyPod, pod) {
		found = podUID(port)
	}
	return found
}
