// Package openstack knows how to run a small OpenStack on one machine from the
// distribution's packages: Keystone, Neutron with ML2/OVN and, optionally, Octavia with the
// OVN provider. There is no message queue, no Nova and no systemd. The package defines the
// components, their order and their configuration; the supervisor runs them. It knows only
// OVN's addresses and does not know Kubernetes.
package openstack

import (
	"net/netip"
	"path/filepath"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Config describes this OpenStack. A port of 0 means the service's usual port.
type Config struct {
	// Dir has the configuration, the database and clouds.yaml.
	Dir string
	// LogDir is the directory of the supervisor's logs, for error messages.
	LogDir string
	// Bind is the address on which the APIs listen and which the catalog has.
	Bind string
	// NB and SB are the addresses of OVN's databases for Neutron.
	NB, SB string
	// SyncMode is Neutron's neutron_sync_mode: off, log (the default) or repair.
	SyncMode string
	// Octavia adds Octavia.
	Octavia bool
	// CacheDir has the database's template. It outlives the lab.
	CacheDir string
	// Needs are components that must be ready before Neutron starts, such as OVN's
	// databases.
	Needs []string
	// External, if valid, is the CIDR of an external network. Project k8s then has
	// a network and a router to it. Otherwise project admin has a provider network
	// with a router.
	External netip.Prefix
	// AllowedPorts are the TCP ports that the default security group of project k8s
	// allows from anywhere, together with ICMP. If it is empty, the group stays as
	// Neutron creates it.
	AllowedPorts []int
	// Chassis are components that must be ready before a router can have a gateway.
	Chassis []string

	KeystonePort, NeutronPort, OctaviaPort int
}

// Password is the password of every account in this cloud.
const Password = "isthmus"

// Clouds returns the names in clouds.yaml, the admin first. Each is also the name of a user
// and a project.
func Clouds() []string { return []string{"admin", "k8s"} }

// CloudsFile returns the path of the clouds.yaml, which the components write.
func (c Config) CloudsFile() string { return filepath.Join(c.Dir, "clouds.yaml") }

// Components returns the processes and steps of this OpenStack. After the last one,
// ResourcesName, networks can be used.
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
