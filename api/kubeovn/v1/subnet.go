package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Subnet is a Logical_Switch with its address range.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=subnet
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`
// +kubebuilder:printcolumn:name="Vpc",type=string,JSONPath=`.spec.vpc`
// +kubebuilder:printcolumn:name="Protocol",type=string,priority=1,JSONPath=`.status.protocol`
// +kubebuilder:printcolumn:name="CIDR",type=string,JSONPath=`.spec.cidrBlock`
// +kubebuilder:printcolumn:name="NAT",type=boolean,JSONPath=`.spec.natOutgoing`
// +kubebuilder:printcolumn:name="Default",type=boolean,JSONPath=`.spec.default`
// +kubebuilder:printcolumn:name="V4Used",type=integer,JSONPath=`.status.v4usingIPs`
// +kubebuilder:printcolumn:name="V4Available",type=integer,JSONPath=`.status.v4availableIPs`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="ExcludeIPs",type=string,priority=1,JSONPath=`.spec.excludeIps`
// +kubebuilder:printcolumn:name="Age",type=date,priority=1,JSONPath=`.metadata.creationTimestamp`
type Subnet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the Subnet is to be.
	Spec SubnetSpec `json:"spec"`
	// Status is what the controller has made of it.
	Status SubnetStatus `json:"status,omitempty"`
}

// SubnetSpec says which network is wanted.
//
// +kubebuilder:validation:XValidation:rule="self.cidrBlock == oldSelf.cidrBlock",message="cidrBlock is immutable: make a new Subnet"
// +kubebuilder:validation:XValidation:rule="self.vpc == oldSelf.vpc",message="vpc is immutable: make a new Subnet"
// +kubebuilder:validation:XValidation:rule="self.provider == oldSelf.provider",message="provider is immutable: make a new Subnet"
// +kubebuilder:validation:XValidation:rule=`(has(self.gateway) ? self.gateway : "") == (has(oldSelf.gateway) ? oldSelf.gateway : "")`,message="gateway is immutable, pods route through it: make a new Subnet"
// +kubebuilder:validation:XValidation:rule="!has(self.private) || !self.private",message="private is not supported: use a NetworkPolicy"
// +kubebuilder:validation:XValidation:rule=`!has(self.vlan) || self.vlan == ""`,message="vlan is not supported: make a provider network in Neutron"
// +kubebuilder:validation:XValidation:rule=`!has(self.gateway) || self.gateway == "" || self.gateway.split(',').all(g, isIP(g) && self.cidrBlock.split(',').exists(c, cidr(c).containsIP(g)))`,message="gateway must be an address in cidrBlock"
// +kubebuilder:validation:XValidation:rule=`(has(self.network) ? self.network : "") == (has(oldSelf.network) ? oldSelf.network : "")`,message="network is immutable: make a new Subnet"
// +kubebuilder:validation:XValidation:rule=`!has(self.network) || self.network == "" || self.provider == "neutron"`,message="network names a network of Neutron's: it needs provider neutron"
type SubnetSpec struct {
	// Vpc is the router that the Subnet is joined to.
	// +kubebuilder:default=ovn-cluster
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Vpc string `json:"vpc,omitempty"`
	// CIDRBlock is an IPv4 prefix, an IPv6 prefix, or one of each with a comma between.
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.split(',').all(c, isCIDR(c) && cidr(c) == cidr(c).masked())",message="cidrBlock must be one or two network prefixes, such as 12.0.1.0/24, without host bits"
	// +kubebuilder:validation:XValidation:rule="size(self.split(',')) == 1 || (size(self.split(',')) == 2 && self.split(',').all(c, isCIDR(c)) && cidr(self.split(',')[0]).ip().family() != cidr(self.split(',')[1]).ip().family())",message="cidrBlock may have at most one prefix of each family"
	CIDRBlock string `json:"cidrBlock"`
	// Gateway is the router's address in the Subnet; the first address if empty.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	Gateway string `json:"gateway,omitempty"`
	// ExcludeIPs are never given to pods: an address, or a range "first..last".
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.all(e, size(e.split('..')) <= 2 && e.split('..').all(a, isIP(a)))",message="excludeIps has an item that is neither an address nor a range first..last"
	ExcludeIPs []string `json:"excludeIps,omitempty"`
	// Namespaces whose pods go here.
	// +optional
	// +listType=set
	Namespaces []string `json:"namespaces,omitempty"`
	// Provider is the fabric: ovn writes OVN's northbound database, neutron
	// calls the Neutron API.
	// +kubebuilder:default=ovn
	// +kubebuilder:validation:Enum=ovn;neutron
	Provider string `json:"provider,omitempty"`
	// Network is the id of a network of Neutron's that has a subnet with cidrBlock
	// and is joined to the Vpc's router: pods become neighbours of the virtual
	// machines there. If empty, provider neutron makes a network.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Network string `json:"network,omitempty"`
	// Default is true for the Subnet of pods that nothing else places.
	// +optional
	Default bool `json:"default,omitempty"`
	// NatOutgoing lets pods reach what lies outside the Vpc under their node's
	// address. Only in Vpc ovn-cluster; elsewhere the router decides.
	// +optional
	NatOutgoing bool `json:"natOutgoing,omitempty"`
	// GatewayType is where traffic leaves Vpc ovn-cluster: at the pod's own node.
	// +optional
	// +kubebuilder:validation:Enum=distributed
	GatewayType string `json:"gatewayType,omitempty"`
	// MTU of the pods' interfaces; what fits the underlay and Neutron's networks if 0.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == 0 || (self >= 576 && self <= 65535)",message="mtu must lie between 576 and 65535"
	MTU int32 `json:"mtu,omitempty"`
	// Claim says when a pod gets its address: as soon as it appears, or when it
	// is bound to a node (so that pending pods cannot exhaust the Subnet).
	// +kubebuilder:default=onAppear
	// +kubebuilder:validation:Enum=onAppear;onBind
	Claim string `json:"claim,omitempty"`

	// Private is not supported and must not be true.
	// +optional
	Private bool `json:"private,omitempty"`
	// Vlan is not supported and must be empty.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Vlan string `json:"vlan,omitempty"`
}

// SubnetStatus says what became of it.
type SubnetStatus struct {
	// Protocol is IPv4, IPv6 or Dual.
	// +optional
	Protocol string `json:"protocol,omitempty"`
	// Gateway is the router's addresses, as used.
	// +optional
	Gateway string `json:"gateway,omitempty"`
	// MTU is the MTU of pods that start now.
	// +optional
	MTU int32 `json:"mtu,omitempty"`
	// Network is the id of the network in Neutron, of provider neutron.
	// +optional
	Network string `json:"network,omitempty"`
	// V4UsingIPs counts the IPv4 addresses in use.
	// +kubebuilder:default=0
	V4UsingIPs int64 `json:"v4usingIPs"`
	// V4AvailableIPs counts the IPv4 addresses that can still be given.
	// +kubebuilder:default=0
	V4AvailableIPs int64 `json:"v4availableIPs"`
	// V6UsingIPs counts the IPv6 addresses in use.
	// +kubebuilder:default=0
	V6UsingIPs int64 `json:"v6usingIPs"`
	// V6AvailableIPs stops at the largest number that JSON carries exactly, 2^53.
	// +kubebuilder:default=0
	V6AvailableIPs int64 `json:"v6availableIPs"`
	// Conditions say whether the object is as it asks, and if not, why.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SubnetList is a list of Subnets.
//
// +kubebuilder:object:root=true
type SubnetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Subnet `json:"items"`
}
