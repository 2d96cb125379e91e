// Package openstack knows a small, real OpenStack on one machine: Keystone,
// Neutron with ML2/OVN and, if asked for, Octavia with the OVN provider, from
// the distribution's packages. There is no message queue, no Nova and no
// systemd. It says what runs, in which order and with which configuration; the
// supervisor runs it. It does not know OVN beyond its addresses, nor Kubernetes.
package openstack

import (
	"net/netip"
	"path/filepath"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Config says where this OpenStack lives. Ports with value 0 get the usual ones.
type Config struct {
	// Dir holds configuration, database and clouds.yaml.
	Dir string
	// LogDir is where the supervisor keeps logs; errors point people there.
	LogDir string
	// Bind is the address that the APIs listen on and that the catalog names.
	Bind string
	// NB and SB are OVN's databases as Neutron shall reach them.
	NB, SB string
	// SyncMode is Neutron's neutron_sync_mode: off, log (the default) or repair.
	SyncMode string
	// Octavia asks for load balancers.
	Octavia bool
	// CacheDir keeps a migrated database between labs.
	CacheDir string
	// Needs must be ready before Neutron starts, say OVN's databases.
	Needs []string
	// External asks for the cloud that project k8s works in: a network to the
	// outside with these addresses, and a network and a router of the project.
	// Otherwise there is a provider network with a router, of project admin.
	External netip.Prefix
	// Admitted are TCP ports that the default security group of project k8s lets in
	// from anywhere, and ICMP with them. None for a group as Neutron makes it.
	Admitted []int
	// Chassis are what must be ready before a router can have its gateway.
	Chassis []string

	KeystonePort, NeutronPort, OctaviaPort int
}

// Password is that of every account in this cloud.
const Password = "isthmus"

// Clouds are the names in clouds.yaml, the admin first. Each is also the name
// of a user and a project.
func Clouds() []string { return []string{"admin", "k8s"} }

// CloudsFile is the clouds.yaml that Components write.
func (c Config) CloudsFile() string { return filepath.Join(c.Dir, "clouds.yaml") }

// Components are the processes and steps of this OpenStack. The last one,
// ResourcesName, is done when networks can be used.
func Components(c Config) []supervise.Component {
	c = c.defaulted()
	parts := []supervise.Component{database{c}.template(), database{c}.mariadb(), c.keystone(), c.neutron(), c.mirror()}
	if c.Octavia {
		parts = append(parts, c.octaviaDriver(), c.octavia())
	}
	return append(parts, c.resources())
}

func (c Config) defaulted() Config {
	orDefault(&c.KeystonePort, 5000)
	orDefault(&c.NeutronPort, 9696)
	orDefault(&c.OctaviaPort, 9876)
	if c.SyncMode == "" {
		c.SyncMode = "log"
	}
	return c
}

func orDefault(port *int, value int) {
	if *port == 0 {
		*port = value
	}
}
