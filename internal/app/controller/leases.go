package controller

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ipam"
)

// leases is the book in decide's words.
type leases struct{ book *ipam.Allocator }

// Held are the addresses that the unit has in the Subnet.
func (l leases) Held(subnet string, u intent.Unit) []netip.Addr {
	for _, lease := range l.book.Held(string(u)) {
		if lease.Network == subnet {
			return lease.Addrs
		}
	}
	return nil
}

// Next gives one address of each family.
func (l leases) Next(subnet string, u intent.Unit) ([]netip.Addr, error) {
	addrs, err := l.book.Next(subnet, string(u))
	return addrs, problem(subnet, err)
}

// Claim gives these addresses.
func (l leases) Claim(subnet string, u intent.Unit, addrs []netip.Addr) error {
	return problem(subnet, l.book.Claim(subnet, string(u), addrs))
}

func problem(subnet string, err error) error {
	var taken ipam.Taken
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ipam.ErrFull):
		return intent.Wait{Reason: "NoAddress", For: fmt.Sprintf("an address to become free in Subnet %s, which is full: delete pods there, or make another Subnet for the namespace", subnet)}
	case errors.As(err, &taken):
		return intent.Wait{Reason: "AddressTaken", For: fmt.Sprintf("address %v of Subnet %s, which %s has", taken.Addr, subnet, taken.Owner)}
	case errors.Is(err, ipam.ErrUnknown):
		return intent.Wait{Reason: "SubnetNotReady", For: fmt.Sprintf("Subnet %s to be ready", subnet)}
	}
	return intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("Subnet %v", err)}
}
