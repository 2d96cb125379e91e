package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
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
	// PodNetwork is one that stands already and has a subnet with PodCIDR, for
	// Subnet pods while that does not exist yet; ServiceNetwork is one for cluster
	// IPs, with a subnet twice as large as ServiceCIDR kubernetes and that in one
	// half of it. Both are on Router. What is not given is made.
	PodNetwork     string `json:"podNetwork,omitempty"`
	ServiceNetwork string `json:"serviceNetwork,omitempty"`
	// ExternalNetwork is where Services of type LoadBalancer have addresses.
	ExternalNetwork string `json:"externalNetwork,omitempty"`
	Pool            Pool   `json:"pool,omitzero"`
	// LoadBalancerProvider is Octavia's.
	LoadBalancerProvider string `json:"loadBalancerProvider,omitempty"`
	// SecurityGroups are those of pods that ask for none. Without any, pods are
	// in one that we make, and that lets everything through.
	SecurityGroups []string `json:"securityGroups,omitempty"`
	// SubnetPerNamespace gives namespaces Subnets of their own, beside Subnet
	// pods; nil for none.
	SubnetPerNamespace *SubnetPerNamespace `json:"subnetPerNamespace,omitempty"`
	// LookEvery is how often OpenStack is looked at for what others have changed
	// there: it tells nobody. Nothing that waits for OpenStack waits longer, but
	// for a load balancer that fails again and again. A minute if nothing is said.
	LookEvery metav1.Duration `json:"lookEvery,omitzero"`
}

// SubnetPerNamespace says which namespaces have a Subnet, and where its prefix comes from.
type SubnetPerNamespace struct {
	// SubnetPool is Neutron's.
	SubnetPool string `json:"subnetPool"`
	// PrefixLength is that of each, 24 if 0.
	PrefixLength int `json:"prefixLength,omitempty"`
	// Namespaces selects them by their labels; all but Kubernetes' own if nil.
	Namespaces *metav1.LabelSelector `json:"namespaces,omitempty"`
}

// Selector tells the namespaces.
func (s *SubnetPerNamespace) Selector() (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(s.Namespaces)
}

func (s *SubnetPerNamespace) fill() {
	if s.PrefixLength == 0 {
		s.PrefixLength = 24
	}
	if s.Namespaces == nil {
		s.Namespaces = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system", "kube-public", "kube-node-lease"},
		}}}
	}
}

func (s *SubnetPerNamespace) validate(byDefault bool) error {
	var errs []error
	if !byDefault {
		errs = append(errs, errors.New("neutron.subnetPerNamespace: works with neutron.default only: set that, or make Subnets with spec.namespaces"))
	}
	if s.SubnetPool == "" {
		errs = append(errs, errors.New("neutron.subnetPerNamespace.subnetPool: give a subnet pool of Neutron's, by id or name"))
	}
	if s.PrefixLength < 8 || s.PrefixLength > 124 {
		errs = append(errs, fmt.Errorf("neutron.subnetPerNamespace.prefixLength: %d is not that of a network for pods, such as 24", s.PrefixLength))
	}
	if _, err := s.Selector(); err != nil {
		errs = append(errs, fmt.Errorf("neutron.subnetPerNamespace.namespaces: %w", err))
	}
	return errors.Join(errs...)
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
	if n.LookEvery.Duration == 0 {
		n.LookEvery.Duration = time.Minute
	}
	if n.Pool.Batch == 0 {
		n.Pool.Batch = 5
	}
	if n.SubnetPerNamespace != nil {
		n.SubnetPerNamespace.fill()
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
	if !n.Default && (n.PodNetwork != "" || n.ServiceNetwork != "") {
		errs = append(errs, errors.New("neutron.podNetwork, neutron.serviceNetwork: work with neutron.default only: set that, or make a Subnet with spec.network"))
	}
	if n.PodNetwork != "" && n.PodNetwork == n.ServiceNetwork {
		errs = append(errs, errors.New("neutron.serviceNetwork: give another network than neutron.podNetwork"))
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
	if n.SubnetPerNamespace != nil {
		errs = append(errs, n.SubnetPerNamespace.validate(n.Default))
	}
	if n.LookEvery.Duration < 0 {
		errs = append(errs, errors.New("neutron.lookEvery: a time such as 1m"))
	}
	for _, g := range n.SecurityGroups {
		if g == "" {
			errs = append(errs, errors.New("neutron.securityGroups: one has no name"))
		}
	}
	return errors.Join(errs...)
}
