package intent

import (
	"net/netip"
	"time"
)

// LoadBalancerStatus is a load balancer as the fabric made it. All ids are
// OpenStack's.
type LoadBalancerStatus struct {
	ID, Name string
	VIP      netip.Addr
	// Port is the id of the VIP's port, Subnet the id of the subnet that the VIP
	// is in.
	Port, Subnet, Project, Provider string
	Listeners                       []ListenerStatus
	// FloatingIP is nil if there is none.
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

// FloatingIPStatus is a floating IP as the fabric created or found it.
type FloatingIPStatus struct {
	ID   string
	Addr netip.Addr
	// Own is true if we created it, false if it is the user's.
	Own bool
}
