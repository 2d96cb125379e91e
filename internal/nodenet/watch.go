package nodenet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/signal"
)

// Watch calls changed once when it has subscribed, and then after each change of what
// Apply reads: ovn0 is made again, a route of ours is removed, the node gets an address
// or a route that contains a pod's address. It also reports the changes that Apply
// makes; the next Apply then finds nothing to do. The calls come from one goroutine.
// Watch returns nil when ctx ends. It errs when events of the kernel were lost; the
// caller then calls it again. It does not report changes of the firewall.
func (n *Network) Watch(ctx context.Context, changed func()) error {
	w := newWatch(n.o.NetNS)
	defer w.stop()
	if err := w.start(); err != nil {
		return fmt.Errorf("watch the node's network: %w", err)
	}
	changed()
	for {
		select {
		case <-w.changed.C():
			changed()
		case <-w.lost.C():
			return fmt.Errorf("watch the node's network: %w", errEventsLost)
		case <-ctx.Done():
			return nil
		}
	}
}

var errEventsLost = errors.New("the kernel's events were lost")

// watch joins several subscriptions into one signal.
type watch struct {
	ns      *netns.NsHandle
	done    chan struct{}
	changed signal.Signal
	lost    signal.Signal // events were lost
	wg      sync.WaitGroup
}

func newWatch(ns *netns.NsHandle) *watch {
	return &watch{ns: ns, done: make(chan struct{}), changed: signal.New(), lost: signal.New()}
}

func (w *watch) start() error {
	if err := w.links(); err != nil {
		return err
	}
	if err := follow(w, func(netlink.AddrUpdate) bool { return true }, func(c chan<- netlink.AddrUpdate) error {
		return netlink.AddrSubscribeWithOptions(c, w.done, netlink.AddrSubscribeOptions{Namespace: w.ns})
	}); err != nil {
		return err
	}
	return follow(w, routeMatters, func(c chan<- netlink.RouteUpdate) error {
		return netlink.RouteSubscribeWithOptions(c, w.done, netlink.RouteSubscribeOptions{Namespace: w.ns})
	})
}

// links subscribes to links. It does not ask the library to list existing links,
// because other subscribers of this process would receive that list, too.
func (w *watch) links() error {
	return follow(w, linkMatters, func(c chan<- netlink.LinkUpdate) error {
		return netlink.LinkSubscribeWithOptions(c, w.done, netlink.LinkSubscribeOptions{Namespace: w.ns})
	})
}

func (w *watch) stop() {
	close(w.done)
	w.wg.Wait()
}

// follow reads a subscription until it ends, and signals each update for which matters
// returns true. A subscription ends by itself only if events were lost.
func follow[T any](w *watch, matters func(T) bool, subscribe func(chan<- T) error) error {
	updates := make(chan T)
	if err := subscribe(updates); err != nil {
		return err
	}
	w.wg.Go(func() {
		for u := range updates {
			if matters(u) {
				w.changed.Set()
			}
		}
		w.lost.Set()
	})
	return nil
}

// linkMatters returns false for the changes that links report all the time.
func linkMatters(u netlink.LinkUpdate) bool {
	return u.Header.Type == unix.RTM_DELLINK || u.Attrs().Name == NodeLink
}

func routeMatters(u netlink.RouteUpdate) bool {
	return u.Table == mainTable || u.Table == probeTable
}
