package host

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Address is the input of KeepAddress.
type Address struct {
	Link   string
	Prefix netip.Prefix
	// Gateway is the next hop of the default route. The zero Addr means no route.
	Gateway netip.Addr
	// Appeared is called when Link appears, before it has its address. It may be nil.
	Appeared func(context.Context) error
}

// KeepAddress sets a link's address and the default route whenever the link appears. It
// returns nil when ctx ends, and errs if it can no longer watch links. It is needed
// because the links of a userspace datapath disappear with ovs-vswitchd. On a kernel
// datapath they would remain, and a node would keep its address.
func KeepAddress(ctx context.Context, a Address, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var last error // of the watch; returned only if the watch ends, since errors of others' requests arrive too
	updates := make(chan netlink.LinkUpdate, 16)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting:  true,
		ErrorCallback: func(err error) { last = err },
	})
	if err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	seen := 0
	for u := range updates {
		if u.Attrs().Name != a.Link || u.Header.Type != unix.RTM_NEWLINK {
			continue
		}
		if a.Appeared != nil && u.Attrs().Index != seen {
			if err := a.Appeared(ctx); err != nil {
				log.Warn("not all is done for it", "link", a.Link, "err", err)
			}
		}
		seen = u.Attrs().Index
		if err := configure(u.Link, a.Prefix, a.Gateway); err != nil {
			log.Warn("cannot configure", "link", a.Link, "err", err)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("watch links: %w", last)
}

func configure(link netlink.Link, addr netip.Prefix, gateway netip.Addr) error {
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	a, err := netlink.ParseAddr(addr.String())
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(link, a); err != nil {
		return fmt.Errorf("address %s: %w", addr, err)
	}
	if !gateway.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("default route via %s: %w", gateway, err)
	}
	return nil
}
