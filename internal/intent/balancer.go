package intent

import (
	"net/netip"
	"time"
)

// Balanced is a balancer as the fabric made it. Ids are the cloud's.
type Balanced struct {
	ID, Name string
	VIP      netip.Addr
	// Port is the VIP's, Subnet the one that it lies in.
	Port, Subnet, Project, Provider string
	Listeners                       []Listening
	// Floating is nil where there is none.
	Floating *Floated
}

// Listening is a listener as the fabric made it, with its pool of members.
type Listening struct {
	ID, Pool, Name               string
	Protocol                     string
	Port                         int
	ClientTimeout, MemberTimeout time.Duration
	Members                      []Joined
}

// Joined is a member as the fabric made it.
type Joined struct {
	ID, Name string
	Addr     netip.Addr
	Port     int
	Subnet   string
}

// Floated is an address from outside as the fabric made or found it.
type Floated struct {
	ID   string
	Addr netip.Addr
	// Own is true if we made it, false if it is the user's.
	Own bool
}
