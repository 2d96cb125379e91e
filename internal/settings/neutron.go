package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// CloudsFile is where the controller finds Secret kube-system/isthmus-openstack
// mounted: who it is to OpenStack.
const CloudsFile = "/etc/isthmus/openstack/clouds.yaml"

// Neutron is how Subnets of provider neutron come to exist. Each cloud object
// is given by its id or, where no other has the same, its name.
type Neutron struct {
	// Cloud is the name in CloudsFile.
	Cloud      string `json:"cloud,omitempty"`
	CloudsFile string `json:"cloudsFile,omitempty"`
	// Router is that of the pods, the nodes and the Services, if Default is set.
	Router string `json:"router,omitempty"`
	// Default makes Subnet pods, of provider neutron and on Router, the cluster's
	// default. There is no Vpc ovn-cluster then.
	Default bool `json:"default,omitempty"`
	// PodCIDR is the network of Subnet pods, while that does not exist yet.
	PodCIDR string `json:"podCIDR,omitempty"`
	// ExternalNetwork is where Services of type LoadBalancer have addresses.
	ExternalNetwork string `json:"externalNetwork,omitempty"`
	Pool            Pool   `json:"pool,omitzero"`
	// LoadBalancerProvider is Octavia's.
	LoadBalancerProvider string `json:"loadBalancerProvider,omitempty"`
	// SecurityGroups are those of pods that ask for none. Without any, pods are
	// in one that we make, and that lets everything through.
	SecurityGroups []string `json:"securityGroups,omitempty"`
}

// Pool is how many ports are made before anybody asks for them: for each node,
// Subnet and set of security groups.
type Pool struct {
	// Min ready ports are kept; 0 for no pool.
	Min *int `json:"min,omitempty"`
	// Max ready ports are kept of those that come back; 0 for any number.
	Max int `json:"max,omitempty"`
	// Batch is how many are made in one call.
	Batch int `json:"batch,omitempty"`
}

// fill gives what is not said its default.
func (n *Neutron) fill() {
	for field, standard := range map[*string]string{
		&n.Cloud: "k8s", &n.CloudsFile: CloudsFile, &n.LoadBalancerProvider: "ovn",
	} {
		if *field == "" {
			*field = standard
		}
	}
	if n.Pool.Min == nil {
		five := 5
		n.Pool.Min = &five
	}
	if n.Pool.Batch == 0 {
		n.Pool.Batch = 5
	}
}

func (n *Neutron) validate() error {
	var errs []error
	if n.Default && n.Router == "" {
		errs = append(errs, errors.New("neutron.router: give the router of the pods, by id or name: neutron.default needs one"))
	}
	if n.Default && n.PodCIDR == "" {
		errs = append(errs, errors.New("neutron.podCIDR: give the network of the pods, such as 10.0.0.0/16: neutron.default needs one"))
	}
	for c := range strings.SplitSeq(n.PodCIDR, ",") {
		if _, err := netip.ParsePrefix(c); n.PodCIDR != "" && err != nil {
			errs = append(errs, fmt.Errorf("neutron.podCIDR: %w", err))
		}
	}
	if n.Pool.Min != nil && *n.Pool.Min < 0 || n.Pool.Max < 0 || n.Pool.Batch < 0 {
		errs = append(errs, errors.New("neutron.pool: min, max and batch are not negative"))
	}
	if n.Pool.Min != nil && n.Pool.Max > 0 && *n.Pool.Min > n.Pool.Max {
		errs = append(errs, fmt.Errorf("neutron.pool: min %d is more than max %d", *n.Pool.Min, n.Pool.Max))
	}
	for _, g := range n.SecurityGroups {
		if g == "" {
			errs = append(errs, errors.New("neutron.securityGroups: one has no name"))
		}
	}
	return errors.Join(errs...)
}
