// Package settings knows the one ConfigMap that both daemons, the kubectl plugin and
// the lab read: its keys, its defaults and which values are valid.
package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/yaml"
)

// Where the settings are.
const (
	Namespace = "kube-system"
	ConfigMap = "isthmus-config"
	// Key is the key in the ConfigMap. The daemons have its value mounted as File.
	Key  = "isthmus.yaml"
	File = "/etc/isthmus/" + Key
)

// Settings of one cluster. They are the same for every node.
type Settings struct {
	// Cluster marks everything that we own, as external_ids:isthmus-owner in OVN.
	Cluster string `json:"cluster"`
	// NBAddresses and SBAddresses are OVN's databases, "tcp:172.31.0.1:6641".
	NBAddresses []string `json:"nbAddresses"`
	SBAddresses []string `json:"sbAddresses"`
	// APIServers are the API server's own addresses, "172.31.0.1:6443". The daemons
	// do not use its Service, which works only after they have made the network.
	APIServers []string `json:"apiServers"`
	// DefaultCIDR and JoinCIDR are the prefixes of Subnets ovn-default and join, with
	// a comma between IPv4 and IPv6.
	DefaultCIDR string `json:"defaultCIDR"`
	JoinCIDR    string `json:"joinCIDR"`
	// RouterPortPrefix starts the name of our port on a Neutron router. With "lrp-"
	// the repair of every Neutron release works; "" gives the name that Kube-OVN uses.
	RouterPortPrefix *string `json:"routerPortPrefix,omitempty"`
	// UnderlayMTU is the MTU, in bytes, of the network that carries the tunnels. If it
	// is 0, the agents read it from the nodes' interfaces.
	UnderlayMTU int `json:"underlayMTU,omitempty"`
	// Neutron is nil if no Subnet has provider neutron.
	Neutron *Neutron `json:"neutron,omitempty"`
}

// Default returns the values of keys that the ConfigMap does not have.
func Default() Settings {
	prefix := "lrp-"
	return Settings{
		Cluster:          "kubernetes",
		DefaultCIDR:      "10.16.0.0/16",
		JoinCIDR:         "100.64.0.0/16",
		RouterPortPrefix: &prefix,
	}
}

// Parse reads the ConfigMap's value over the defaults. It errs for unknown keys and
// for values that are not valid.
func Parse(text []byte) (Settings, error) {
	s := Default()
	if err := yaml.UnmarshalStrict(text, &s); err != nil {
		return Settings{}, fmt.Errorf("%s in ConfigMap %s/%s: %w", Key, Namespace, ConfigMap, err)
	}
	if s.Neutron != nil {
		s.Neutron.fill()
	}
	return s, s.Validate()
}

// Validate returns everything that is wrong with s, joined; nil if s is valid.
func (s Settings) Validate() error {
	var errs []error
	if s.Cluster == "" || strings.ContainsAny(s.Cluster, " =,\"") {
		errs = append(errs, fmt.Errorf("cluster %q: must be one word, without spaces, quotes, commas and equals signs", s.Cluster))
	}
	if len(s.NBAddresses) == 0 {
		errs = append(errs, errors.New("nbAddresses: set the address of OVN's northbound database, such as tcp:172.31.0.1:6641"))
	}
	if len(s.APIServers) == 0 {
		errs = append(errs, errors.New("apiServers: set the API server's address, such as 172.31.0.1:6443"))
	}
	for name, cidrs := range map[string]string{"defaultCIDR": s.DefaultCIDR, "joinCIDR": s.JoinCIDR} {
		for c := range strings.SplitSeq(cidrs, ",") {
			if _, err := netip.ParsePrefix(c); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	if s.Neutron != nil {
		errs = append(errs, s.Neutron.validate())
	}
	return errors.Join(errs...)
}

// Overlay is true if the cluster has Vpc ovn-cluster with Subnets ovn-default and join.
func (s Settings) Overlay() bool { return s.Neutron == nil || !s.Neutron.Default }
