// Package settings knows the one ConfigMap that both daemons, the kubectl
// plugin and the lab share: its keys, its defaults and what is valid.
package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/yaml"
)

// Where the settings stand.
const (
	Namespace = "kube-system"
	ConfigMap = "isthmus-config"
	// Key is the ConfigMap's key, and File where the daemons find it mounted.
	Key  = "isthmus.yaml"
	File = "/etc/isthmus/" + Key
)

// Settings of one cluster. All of them hold for every node.
type Settings struct {
	// Cluster marks all that we own: external_ids:isthmus-owner.
	Cluster string `json:"cluster"`
	// NBAddresses and SBAddresses are OVN's databases, "tcp:172.31.0.1:6641".
	NBAddresses []string `json:"nbAddresses"`
	SBAddresses []string `json:"sbAddresses"`
	// APIServers are the API server's own addresses, "172.31.0.1:6443": the
	// daemons must reach it before any Service works.
	APIServers []string `json:"apiServers"`
	// DefaultCIDR, JoinCIDR: the networks of Subnets ovn-default and join.
	DefaultCIDR string `json:"defaultCIDR"`
	JoinCIDR    string `json:"joinCIDR"`
	// RouterPortPrefix begins the name of our port on a router of Neutron's.
	// "lrp-" lets Zed's repair cope with it; "" gives Kube-OVN's name.
	RouterPortPrefix *string `json:"routerPortPrefix,omitempty"`
	// MTU of the underlay; what the agents report if 0.
	UnderlayMTU int `json:"underlayMTU,omitempty"`
	// Neutron is nil where no Subnet has provider neutron.
	Neutron *Neutron `json:"neutron,omitempty"`
}

// Default is what holds for keys that the ConfigMap does not have.
func Default() Settings {
	prefix := "lrp-"
	return Settings{
		Cluster:          "kubernetes",
		DefaultCIDR:      "10.16.0.0/16",
		JoinCIDR:         "100.64.0.0/16",
		RouterPortPrefix: &prefix,
	}
}

// Parse reads the ConfigMap's value over the defaults. Unknown keys are errors.
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

// Validate says everything that is wrong with s at once.
func (s Settings) Validate() error {
	var errs []error
	if s.Cluster == "" || strings.ContainsAny(s.Cluster, " =,\"") {
		errs = append(errs, fmt.Errorf("cluster %q: must be a word", s.Cluster))
	}
	if len(s.NBAddresses) == 0 {
		errs = append(errs, errors.New("nbAddresses: give OVN's northbound database, such as tcp:172.31.0.1:6641"))
	}
	if len(s.APIServers) == 0 {
		errs = append(errs, errors.New("apiServers: give the API server's address, such as 172.31.0.1:6443"))
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

// Overlay tells whether the cluster has Vpc ovn-cluster with Subnets
// ovn-default and join.
func (s Settings) Overlay() bool { return s.Neutron == nil || !s.Neutron.Default }
