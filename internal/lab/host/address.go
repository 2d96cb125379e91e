package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// KeepAddress gives link an address and the default route whenever it
// appears, until ctx ends. A userspace datapath's links live and die with
// ovs-vswitchd; on a kernel datapath they would outlive it, and a node would
// keep its address.
func KeepAddress(ctx context.Context, link string, addr netip.Prefix, gateway netip.Addr, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	updates := make(chan netlink.LinkUpdate, 16)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting:  true,
		ErrorCallback: func(err error) { cancel(fmt.Errorf("watch links: %w", err)) },
	})
	if err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	for u := range updates {
		if u.Attrs().Name != link || u.Header.Type != 16 /* RTM_NEWLINK */ {
			continue
		}
		if err := configure(u.Link, addr, gateway); err != nil {
			log.Warn("cannot configure", "link", link, "err", err)
			continue
		}
		log.Debug("configured", "link", link, "ip", addr)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
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
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("default route via %s: %w", gateway, err)
	}
	return nil
}
