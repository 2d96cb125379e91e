package claim

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ipam"
)

// Leases returns the allocator in the form that decide uses.
func (c *Claims) Leases() Leases { return Leases{&c.Allocator} }

// Leases is an allocator whose errors are a Wait or a Stop.
type Leases struct{ allocator *ipam.Allocator }

// Held returns the addresses that the unit has in the Subnet.
func (l Leases) Held(subnet string, u intent.Unit) []netip.Addr {
	for _, lease := range l.allocator.Held(string(u)) {
		if lease.Network == subnet {
			return lease.Addrs
		}
	}
	return nil
}

// Next allocates one address of each family of the Subnet.
func (l Leases) Next(subnet string, u intent.Unit) ([]netip.Addr, error) {
	addrs, err := l.allocator.Next(subnet, string(u))
	return addrs, classifyError(subnet, err)
}

// Claim allocates these addresses.
func (l Leases) Claim(subnet string, u intent.Unit, addrs []netip.Addr) error {
	return classifyError(subnet, l.allocator.Claim(subnet, string(u), addrs))
}

// classifyError maps an error of the allocator to a Wait or a Stop.
func classifyError(subnet string, err error) error {
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
