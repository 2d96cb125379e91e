package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// node keeps the node's own network as the cluster asks.
type node struct {
	name, bridge, owner string
	join                []netip.Prefix
	// fixedMTU is the settings' word on the underlay, 0 to look at the link.
	fixedMTU int

	kube    *kube
	pods    *pods
	machine *netdev.Machine
	net     *nodenet.Network
	// One of the two is there: the node's own switch, or its trunk.
	ovs   *netdev.Switch
	trunk *onTrunk
	// fixed is true if the agent's options say which, whatever the Node's labels do.
	fixed bool
	log   *slog.Logger

	wake  wakeup
	dirty atomic.Bool // the kernel may no longer be as the last Apply left it
	under atomic.Pointer[underlay]

	version string // the node port's iface-id-ver, for plugOVN0
	applied *nodenet.State
	told    map[nodenet.Refusal]bool
}

type underlay struct {
	mtu int
	six bool
}

// wakeup wakes one loop; many signals are one.
type wakeup chan struct{}

func (s wakeup) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// run works until ctx ends. It touches nothing before the cluster was heard:
// an empty list of Subnets would take the node's routes away.
func (n *node) run(ctx context.Context) error {
	if !n.kube.cache.WaitForCacheSync(ctx) {
		return nil
	}
	if n.ovs != nil && n.ovs.Ready(ctx) != nil {
		return nil
	}
	n.wake.send()
	for retry := firstRetry; ; {
		err := n.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errOtherWay) {
			return err
		}
		if err == nil {
			retry = firstRetry
		} else {
			n.log.Warn("the node's network is not as it should be, trying again", "node", n.name, "err", err)
			retry = min(2*retry, 15*time.Second)
		}
		if !n.sleep(ctx, retry, err != nil) {
			return nil
		}
	}
}

// sleep ends with a signal or, if something is to be tried again, in time. It
// is false when ctx ended.
func (n *node) sleep(ctx context.Context, retry time.Duration, again bool) bool {
	var later <-chan time.Time
	if again {
		timer := time.NewTimer(retry)
		defer timer.Stop()
		later = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-n.wake:
	case <-later:
	}
	return true
}

// once makes the node as it should be now. One part's failure does not keep
// the others from being done.
func (n *node) once(ctx context.Context) error {
	n.look()
	annotated := n.annotate(ctx)
	if errors.Is(annotated, errOtherWay) {
		return annotated // the node's network is another's then
	}
	return errors.Join(annotated, n.apply(ctx), n.follow(ctx))
}

// follow binds running pods to what their claims name now.
func (n *node) follow(ctx context.Context) error {
	if n.trunk != nil {
		return n.followTags(ctx)
	}
	return n.followPorts(ctx)
}

func (n *node) apply(ctx context.Context) error {
	state, err := n.gather(ctx)
	if err != nil {
		return err
	}
	if dirty := n.dirty.Swap(false); !dirty && n.applied != nil && reflect.DeepEqual(*n.applied, state) {
		return nil
	}
	n.applied = nil
	refusals, err := n.net.Apply(ctx, state)
	if err != nil {
		return err
	}
	n.applied = &state
	return n.tell(ctx, refusals)
}

// gather reads and decides nothing that nodenet could decide.
func (n *node) gather(ctx context.Context) (nodenet.State, error) {
	if n.trunk != nil {
		pods, err := n.nested(ctx)
		return nodenet.State{Probes: nestedProbes(pods)}, err
	}
	var subnets v1.SubnetList
	if err := n.kube.cache.List(ctx, &subnets); err != nil {
		return nodenet.State{}, fmt.Errorf("list Subnets: %w", err)
	}
	claim, err := n.claim(ctx)
	if err != nil {
		return nodenet.State{}, err
	}
	s := networks(subnets.Items, claim, n.join)
	if claim != nil {
		if s.Node, err = ovn0(claim); err != nil {
			return s, err
		}
		n.version = ""
		if claim.Spec.Attach.OVS != nil {
			n.version = claim.Spec.Attach.OVS.IfaceIDVer
		}
	}
	s.Probes = probes(n.ovs.Ports(plug.KeyOwner, n.owner))
	return s, nil
}

// claim is this node's; nil while there is none for the Node as it is now.
func (n *node) claim(ctx context.Context) (*v1.IP, error) {
	self, err := n.self(ctx)
	if self == nil || err != nil {
		return nil, err
	}
	ip := &v1.IP{}
	err = n.kube.cache.Get(ctx, client.ObjectKey{Name: decide.NodePort(n.name)}, ip)
	if apierrors.IsNotFound(err) || err == nil && ip.Spec.PodUID != string(self.UID) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get IP %s: %w", decide.NodePort(n.name), err)
	}
	return ip, nil
}

func (n *node) self(ctx context.Context) (*corev1.Node, error) {
	self := &corev1.Node{}
	err := n.kube.cache.Get(ctx, client.ObjectKey{Name: n.name}, self)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Node %s: %w", n.name, err)
	}
	return self, nil
}

// plugOVN0 and unplugOVN0 are nodenet's hands in the switch's database.
func (n *node) plugOVN0(ctx context.Context, name, ifaceID, mac string) error {
	ids := map[string]string{plug.KeyIfaceID: ifaceID, plug.KeyOwner: n.owner}
	if n.version != "" {
		ids[plug.KeyIfaceIDVer] = n.version
	}
	_, err := n.ovs.Add(ctx, netdev.NewPort{Bridge: n.bridge, Name: name, Internal: true, MAC: mac, IDs: ids})
	return err
}

func (n *node) unplugOVN0(ctx context.Context, name string) error { return n.ovs.Remove(ctx, name) }

// watch marks the kernel's state as doubtful whenever it changed.
func (n *node) watch(ctx context.Context) error {
	for retry := firstRetry; ; retry = min(2*retry, 15*time.Second) {
		err := n.net.Watch(ctx, func() { n.dirty.Store(true); n.wake.send() })
		if ctx.Err() != nil || !pause(ctx, retry) {
			return nil
		}
		n.log.Warn("watching the node's network again", "err", err)
	}
}

// look finds the MTU of what carries the tunnels, where there are any.
func (n *node) look() {
	if n.ovs == nil {
		return
	}
	u := underlay{mtu: n.fixedMTU}
	for _, a := range n.ovs.TunnelAddrs() {
		u.six = u.six || a.Is6()
		if mtu, ok := n.machine.MTU(a); ok && n.fixedMTU == 0 && (u.mtu == 0 || mtu < u.mtu) {
			u.mtu = mtu
		}
	}
	n.under.Store(&u)
}

// underlay is what look found last.
func (n *node) underlay() (mtu int, six bool) {
	if u := n.under.Load(); u != nil {
		return u.mtu, u.six
	}
	return n.fixedMTU, false
}

// news is what the controller is to know: how pods are plugged here, and the
// underlay's MTU or the interfaces that a trunk port may be recognised by.
func (n *node) news() (map[string]string, error) {
	news := map[string]string{v1.Plug: string(n.pods.way.mode())}
	if n.trunk != nil {
		macs, err := n.machine.MACs()
		news[v1.AnnotationMACs] = strings.Join(macs, ",")
		return news, err
	}
	if mtu, _ := n.underlay(); mtu != 0 {
		news[v1.AnnotationUnderlayMTU] = strconv.Itoa(mtu)
	}
	return news, nil
}

// annotate writes the news on the Node.
func (n *node) annotate(ctx context.Context) error {
	self, err := n.self(ctx)
	if self == nil || err != nil {
		return err
	}
	if err := n.contradicted(self); err != nil {
		return err
	}
	news, err := n.news()
	if err != nil {
		return err
	}
	maps.DeleteFunc(news, func(key, value string) bool { return self.Annotations[key] == value })
	if len(news) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": news}})
	if err != nil {
		return err
	}
	if err := n.kube.client.Patch(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("annotate Node %s: %w", n.name, err)
	}
	n.log.Info("the Node tells", "node", n.name, "annotations", news)
	return nil
}

// tell writes an event for each pod that newly cannot be probed.
func (n *node) tell(ctx context.Context, refusals []nodenet.Refusal) error {
	now := map[nodenet.Refusal]bool{}
	var errs []error
	for _, r := range refusals {
		if !n.told[r] {
			if err := n.event(ctx, r); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		now[r] = true
	}
	n.told = now
	return errors.Join(errs...)
}

func (n *node) event(ctx context.Context, r nodenet.Refusal) error {
	namespace, name, _ := strings.Cut(r.Pod, "/")
	now := metav1.Now()
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, GenerateName: name + "."},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name},
		Type:           corev1.EventTypeWarning, Reason: "NoProbePath", Message: r.Why,
		Source:         corev1.EventSource{Component: "isthmus-agent", Host: n.name},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	e.InvolvedObject.UID = n.uidOf(ctx, r.Pod)
	if err := n.kube.client.Create(ctx, e); err != nil {
		return fmt.Errorf("tell why pod %s cannot be probed (%s): %w", r.Pod, r.Why, err)
	}
	return nil
}

// uidOf is that of the pod that is plugged here, empty if nobody knows.
func (n *node) uidOf(ctx context.Context, pod string) (found types.UID) {
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
		found = uid(port)
	}
	return found
}
