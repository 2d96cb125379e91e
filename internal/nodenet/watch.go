package nodenet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Watch calls changed once when it stands, and then whenever something changed
// that Apply looks at: ovn0 came anew, a route of ours went, the node got an
// address or a route that a pod's address is in. It cannot tell Apply's own
// deeds from others', but an Apply that has nothing to do ends it. changed is
// called from one goroutine. Watch ends with ctx, or with an error when the
// kernel's events were lost: call it again then. It does not see changes of the
// firewall.
func (n *Network) Watch(ctx context.Context, changed func()) error {
	w := newWatch(n.o.NetNS)
	defer w.stop()
	if err := w.start(); err != nil {
		return fmt.Errorf("watch the node's network: %w", err)
	}
	changed()
	for {
		select {
		case <-w.hit:
			changed()
		case err := <-w.lost:
			return fmt.Errorf("watch the node's network: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

var errEventsLost = errors.New("the kernel's events were lost")

// watch joins subscriptions into one signal.
type watch struct {
	ns   *netns.NsHandle
	done chan struct{}
	hit  chan struct{} // of capacity one: many changes are one
	lost chan error    // of capacity one, too: one is enough
	wg   sync.WaitGroup
}

func newWatch(ns *netns.NsHandle) *watch {
	return &watch{ns: ns, done: make(chan struct{}), hit: make(chan struct{}, 1), lost: make(chan error, 1)}
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
	return follow(w, concernsRoute, func(c chan<- netlink.RouteUpdate) error {
		return netlink.RouteSubscribeWithOptions(c, w.done, netlink.RouteSubscribeOptions{Namespace: w.ns})
	})
}

// links does not ask the library to list what exists: it would send that
// request to everybody else who listens.
func (w *watch) links() error {
	return follow(w, concernsLink, func(c chan<- netlink.LinkUpdate) error {
		return netlink.LinkSubscribeWithOptions(c, w.done, netlink.LinkSubscribeOptions{Namespace: w.ns})
	})
}

func (w *watch) stop() {
	close(w.done)
	w.wg.Wait()
}

// follow reads a subscription until it ends, so that it never waits for us. It
// ends by itself only when events were lost.
func follow[T any](w *watch, concerns func(T) bool, subscribe func(chan<- T) error) error {
	updates := make(chan T)
	if err := subscribe(updates); err != nil {
		return err
	}
	w.wg.Go(func() {
		for u := range updates {
			if concerns(u) {
				w.signal()
			}
		}
		select {
		case w.lost <- errEventsLost:
		default:
		}
	})
	return nil
}

func (w *watch) signal() {
	select {
	case w.hit <- struct{}{}:
	default: // one is waiting already
	}
}

// concernsLink leaves out what links tell of themselves all the time.
func concernsLink(u netlink.LinkUpdate) bool {
	return u.Header.Type == unix.RTM_DELLINK || u.Attrs().Name == NodeLink
}

func concernsRoute(u netlink.RouteUpdate) bool {
	return u.Table == mainTable || u.Table == probeTable
}
