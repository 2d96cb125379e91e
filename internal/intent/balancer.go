package intent

import (
	"net/netip"
	"time"
)

// LoadBalancerStatus is a balancer as the fabric made it. Ids are the cloud's.
type LoadBalancerStatus struct {
	ID, Name string
	VIP      netip.Addr
	// Port is the VIP's, Subnet the one that it lies in.
	Port, Subnet, Project, Provider string
	Listeners                       []ListenerStatus
	// FloatingIP is nil where there is none.
	FloatingIP *FloatingIPStatus
}

// ListenerStatus is a listener as the fabric made it, with its pool of members.
type ListenerStatus struct {
	ID, Pool, Name               string
	Protocol                     string
	Port                         int
	ClientTimeout, MemberTimeout time.Duration
	Members                      []MemberStatus
}

// MemberStatus is a member as the fabric made it.
type MemberStatus struct {
	ID, Name string
	Addr     netip.Addr
	Port     int
	Subnet   string
}

// FloatingIPStatus is an address from outside as the fabric made or found it.
type FloatingIPStatus struct {
	ID   string
	Addr netip.Addr
	// Own is true if we made it, false if it is the user's.
	Own bool
}
