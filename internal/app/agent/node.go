package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/agent/claim"
	"github.com/isthmus-cni/isthmus/internal/app/agent/plugmode"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/retry"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// node keeps the node's own network as Subnets and claims define it, writes the Node's
// annotations, and binds running pods to the ports that their claims name.
type node struct {
	name, bridge, owner string
	// join has the settings' prefixes of Subnet join, used while it does not exist.
	join []netip.Prefix
	// fixedMTU is the underlay's MTU in the settings; 0 to read it from the link.
	fixedMTU int

	kube    *kube
	plugger *plugger
	machine *netdev.Machine
	net     *nodenet.Network
	// ovs is the node's switch; trunk is set instead on a node without one.
	ovs   *netdev.Switch
	trunk *trunkAttacher
	// plugFixed is true if the agent's option sets how pods are plugged; the Node's
	// label then does not count.
	plugFixed bool
	log       *slog.Logger

	changed     signal.Signal
	dirty       atomic.Bool // the kernel may have changed since the last Apply
	underlayNow atomic.Pointer[underlay]

	version  string                   // the node port's iface-id-ver, for plugOVN0
	applied  *nodenet.State           // nil if the last Apply failed
	recorded map[nodenet.Refusal]bool // refusals that have an event already
}

// underlay is the network that carries the tunnels.
type underlay struct {
	mtu int // 0 if unknown
	six bool
}

// nodeBackoff has the pauses before failed work on the node is tried again.
var nodeBackoff = retry.Backoff{First: 50 * time.Millisecond, Longest: 15 * time.Second}

// run reconciles after each change, and after a failure, until ctx ends. Its only error
// is plugmode.ErrChanged. It changes nothing before the caches are filled, because an
// empty list of Subnets would remove the node's routes.
func (n *node) run(ctx context.Context) error {
	if !n.kube.cache.WaitForCacheSync(ctx) {
		return nil
	}
	if n.ovs != nil && n.ovs.Ready(ctx) != nil {
		return nil
	}
	delay := nodeBackoff.Delays()
	again := time.AfterFunc(0, n.changed.Set)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.changed.C():
		}
		again.Stop()
		err := n.reconcile(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, plugmode.ErrChanged):
			return err
		case err == nil:
			delay = nodeBackoff.Delays()
		default:
			n.log.Warn("reconciling the node's network failed, trying again", "node", n.name, "err", err)
			again.Reset(delay())
		}
	}
}

// reconcile makes the node as it should be now. If one part fails, it still does the
// others.
func (n *node) reconcile(ctx context.Context) error {
	n.readUnderlay()
	annotated := n.annotate(ctx)
	if errors.Is(annotated, plugmode.ErrChanged) {
		return annotated // the next agent keeps the network, in the other mode
	}
	return errors.Join(annotated, n.apply(ctx), n.followClaims(ctx))
}

// followClaims binds running pods to the ports or VLANs that their claims name now.
func (n *node) followClaims(ctx context.Context) error {
	if n.trunk != nil {
		return n.retagPods(ctx)
	}
	return n.rebindPods(ctx)
}

// apply makes the kernel's state as gather returns it, if either has changed.
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
	n.recordRefusals(ctx, refusals)
	return nil
}

// gather returns the wanted network of the node.
func (n *node) gather(ctx context.Context) (nodenet.State, error) {
	if n.trunk != nil {
		pods, err := n.nested(ctx)
		return nodenet.State{Probes: nestedProbes(pods)}, err
	}
	var subnets v1.SubnetList
	if err := n.kube.cache.List(ctx, &subnets); err != nil {
		return nodenet.State{}, fmt.Errorf("list Subnets: %w", err)
	}
	own, err := n.claim(ctx)
	if err != nil {
		return nodenet.State{}, err
	}
	s := claim.Networks(subnets.Items, own, n.join)
	if own != nil {
		if s.Node, err = claim.NodeInterface(own); err != nil {
			return s, err
		}
		n.version = ""
		if own.Spec.Attach.OVS != nil {
			n.version = own.Spec.Attach.OVS.IfaceIDVer
		}
	}
	s.Probes = probes(n.ovs.Ports(plug.KeyOwner, n.owner))
	return s, nil
}

// claim returns this node's claim; nil while the present Node object has none.
func (n *node) claim(ctx context.Context) (*v1.IP, error) {
	object, err := n.object(ctx)
	if object == nil || err != nil {
		return nil, err
	}
	ip := &v1.IP{}
	err = n.kube.cache.Get(ctx, client.ObjectKey{Name: decide.NodePort(n.name)}, ip)
	if apierrors.IsNotFound(err) || err == nil && ip.Spec.PodUID != string(object.UID) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get IP %s: %w", decide.NodePort(n.name), err)
	}
	return ip, nil
}

// object returns the Node object, with metadata only; nil while there is none.
func (n *node) object(ctx context.Context) (*corev1.Node, error) {
	o := &corev1.Node{}
	err := n.kube.cache.Get(ctx, client.ObjectKey{Name: n.name}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Node %s: %w", n.name, err)
	}
	return o, nil
}

// plugOVN0 and unplugOVN0 add the port of ovn0 to the switch and remove it, for nodenet.
func (n *node) plugOVN0(ctx context.Context, name, ifaceID, mac string) error {
	ids := map[string]string{plug.KeyIfaceID: ifaceID, plug.KeyOwner: n.owner}
	if n.version != "" {
		ids[plug.KeyIfaceIDVer] = n.version
	}
	_, err := n.ovs.Add(ctx, netdev.NewPort{Bridge: n.bridge, Name: name, Internal: true, MAC: mac, IDs: ids})
	return err
}

func (n *node) unplugOVN0(ctx context.Context, name string) error { return n.ovs.Remove(ctx, name) }

// watch triggers a reconcile whenever the kernel's network changes, until ctx ends.
func (n *node) watch(ctx context.Context) error {
	watch := func(ctx context.Context) error {
		err := n.net.Watch(ctx, func() { n.dirty.Store(true); n.changed.Set() })
		if err == nil && ctx.Err() == nil {
			err = errors.New("the watch ended")
		}
		return err
	}
	_ = nodeBackoff.Until(ctx, watch, func(err error) { // it returns when ctx ends
		n.log.Warn("watching the kernel's network failed, trying again", "node", n.name, "err", err)
	})
	return nil
}

// readUnderlay reads the MTU of the links that carry the tunnels, if the node has any.
func (n *node) readUnderlay() {
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
	n.underlayNow.Store(&u)
}

// underlay returns what readUnderlay read last.
func (n *node) underlay() (mtu int, six bool) {
	if u := n.underlayNow.Load(); u != nil {
		return u.mtu, u.six
	}
	return n.fixedMTU, false
}
