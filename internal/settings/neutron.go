package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// CloudsFile is where the controller has Secret kube-system/isthmus-openstack
// mounted: its credentials for OpenStack.
const CloudsFile = "/etc/isthmus/openstack/clouds.yaml"

// Neutron are the settings for Subnets on Neutron networks. Each object of OpenStack
// is given by its id, or by its name if no other object has the same one.
type Neutron struct {
	// Cloud is the entry in CloudsFile.
	Cloud      string `json:"cloud,omitempty"`
	CloudsFile string `json:"cloudsFile,omitempty"`
	// Router is the router of pods, nodes and Services. Only for Default.
	Router string `json:"router,omitempty"`
	// Default makes Subnet pods, of provider neutron and on Router, the cluster's
	// default. There is then no Vpc ovn-cluster.
	Default bool `json:"default,omitempty"`
	// PodCIDR is the prefix of Subnet pods when the controller creates it.
	PodCIDR string `json:"podCIDR,omitempty"`
	// PodNetwork is an existing network for Subnet pods, with a subnet of PodCIDR.
	// ServiceNetwork is an existing network for cluster IPs. Its subnet is twice as
	// large as ServiceCIDR kubernetes, which is one half of it. Both are on Router.
	// The controller creates what is not given.
	PodNetwork     string `json:"podNetwork,omitempty"`
	ServiceNetwork string `json:"serviceNetwork,omitempty"`
	// ExternalNetwork is where Services of type LoadBalancer get their floating IPs.
	ExternalNetwork string `json:"externalNetwork,omitempty"`
	Pool            Pool   `json:"pool,omitzero"`
	// LoadBalancerProvider is Octavia's provider, "ovn" if empty.
	LoadBalancerProvider string `json:"loadBalancerProvider,omitempty"`
	// SecurityGroups are those of pods that ask for none. If there are none, such
	// pods get a group of ours that permits everything.
	SecurityGroups []string `json:"securityGroups,omitempty"`
	// SubnetPerNamespace gives namespaces Subnets of their own, besides Subnet pods.
	// nil for no namespace.
	SubnetPerNamespace *SubnetPerNamespace `json:"subnetPerNamespace,omitempty"`
	// LookEvery is how often the controller reads OpenStack for what others have
	// changed there, since OpenStack sends no events. It is also the longest pause
	// of everything that waits for OpenStack, except a load balancer that fails
	// repeatedly. One minute if 0.
	LookEvery metav1.Duration `json:"lookEvery,omitzero"`
}

// SubnetPerNamespace says which namespaces have a Subnet, and where its prefix comes from.
type SubnetPerNamespace struct {
	// SubnetPool is a subnet pool in Neutron.
	SubnetPool string `json:"subnetPool"`
	// PrefixLength is that of each Subnet, 24 if 0.
	PrefixLength int `json:"prefixLength,omitempty"`
	// Namespaces selects namespaces by label; nil for all except Kubernetes' own.
	Namespaces *metav1.LabelSelector `json:"namespaces,omitempty"`
}

// Selector returns the selector of the namespaces. It errs if that is not valid.
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
		errs = append(errs, errors.New("neutron.subnetPerNamespace: works with neutron.default only: set that, or create Subnets with spec.namespaces"))
	}
	if s.SubnetPool == "" {
		errs = append(errs, errors.New("neutron.subnetPerNamespace.subnetPool: set a Neutron subnet pool, by id or name"))
	}
	if s.PrefixLength < 8 || s.PrefixLength > 124 {
		errs = append(errs, fmt.Errorf("neutron.subnetPerNamespace.prefixLength: %d is not between 8 and 124", s.PrefixLength))
	}
	if _, err := s.Selector(); err != nil {
		errs = append(errs, fmt.Errorf("neutron.subnetPerNamespace.namespaces: %w", err))
	}
	return errors.Join(errs...)
}

// Pool is how many ready ports there are: created before pods need them, for each
// node, Subnet and set of security groups.
type Pool struct {
	// Min is how many ready ports are kept; 0 for no pool, 5 if nil.
	Min *int `json:"min,omitempty"`
	// Max is how many ready ports are kept when pods return theirs; 0 for no limit.
	Max int `json:"max,omitempty"`
	// Batch is how many ports are created in one call; 5 if 0.
	Batch int `json:"batch,omitempty"`
}

// fill sets the defaults of what is not set.
func (n *Neutron) fill() {
	for field, value := range map[*string]string{
		&n.Cloud: "k8s", &n.CloudsFile: CloudsFile, &n.LoadBalancerProvider: "ovn",
	} {
		if *field == "" {
			*field = value
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

// validate returns everything that is wrong with n, joined.
func (n *Neutron) validate() error {
	errs := []error{n.validateDefault(), n.Pool.validate()}
	if n.SubnetPerNamespace != nil {
		errs = append(errs, n.SubnetPerNamespace.validate(n.Default))
	}
	if n.LookEvery.Duration < 0 {
		errs = append(errs, errors.New("neutron.lookEvery: must be a duration such as 1m"))
	}
	if slices.Contains(n.SecurityGroups, "") {
		errs = append(errs, errors.New("neutron.securityGroups: one has no name"))
	}
	return errors.Join(errs...)
}

// validateDefault checks what belongs to Default.
func (n *Neutron) validateDefault() error {
	var errs []error
	if n.Default && n.Router == "" {
		errs = append(errs, errors.New("neutron.router: neutron.default needs the router of the pods, by id or name"))
	}
	if n.Default && n.PodCIDR == "" {
		errs = append(errs, errors.New("neutron.podCIDR: neutron.default needs the prefix of the pods, such as 10.0.0.0/16"))
	}
	if !n.Default && (n.PodNetwork != "" || n.ServiceNetwork != "") {
		errs = append(errs, errors.New("neutron.podNetwork, neutron.serviceNetwork: work with neutron.default only: set that, or create a Subnet with spec.network"))
	}
	if n.PodNetwork != "" && n.PodNetwork == n.ServiceNetwork {
		errs = append(errs, errors.New("neutron.serviceNetwork: must be another network than neutron.podNetwork"))
	}
	return errors.Join(append(errs, n.validatePodCIDR())...)
}

// validatePodCIDR reads the prefixes, if there are any.
func (n *Neutron) validatePodCIDR() error {
	if n.PodCIDR == "" {
		return nil
	}
	var errs []error
	for c := range strings.SplitSeq(n.PodCIDR, ",") {
		if _, err := netip.ParsePrefix(c); err != nil {
			errs = append(errs, fmt.Errorf("neutron.podCIDR: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (p Pool) validate() error {
	var errs []error
	if p.Min != nil && *p.Min < 0 || p.Max < 0 || p.Batch < 0 {
		errs = append(errs, errors.New("neutron.pool: min, max and batch must not be negative"))
	}
	if p.Min != nil && p.Max > 0 && *p.Min > p.Max {
		errs = append(errs, fmt.Errorf("neutron.pool: min %d is more than max %d", *p.Min, p.Max))
	}
	return errors.Join(errs...)
}
