package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Vpc is a router. Neutron's routers appear as Vpcs by themselves, named
// neutron-<router id> and labelled ovn.kubernetes.io/vpc_external=true;
// deleting such an object never deletes the router.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=vpc
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Standby",type=boolean,JSONPath=`.status.standby`
// +kubebuilder:printcolumn:name="Subnets",type=string,JSONPath=`.status.subnets`
// +kubebuilder:printcolumn:name="Namespaces",type=string,priority=1,JSONPath=`.spec.namespaces`
// +kubebuilder:printcolumn:name="Default",type=boolean,priority=1,JSONPath=`.status.default`
// +kubebuilder:printcolumn:name="Age",type=date,priority=1,JSONPath=`.metadata.creationTimestamp`
type Vpc struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the Vpc is to be.
	Spec VpcSpec `json:"spec,omitempty"`
	// Status is what the controller has made of it.
	Status VpcStatus `json:"status,omitempty"`
}

// VpcSpec says who may use the router. The fields after DefaultSubnet are
// known to Kube-OVN's users and refused here, so that none is silently lost.
//
// +kubebuilder:validation:XValidation:rule="!has(self.staticRoutes) || size(self.staticRoutes) == 0",message="staticRoutes is not supported: routes on a Neutron router belong in Neutron (openstack router add route)"
// +kubebuilder:validation:XValidation:rule="!has(self.policyRoutes) || size(self.policyRoutes) == 0",message="policyRoutes is not supported"
// +kubebuilder:validation:XValidation:rule="!has(self.vpcPeerings) || size(self.vpcPeerings) == 0",message="vpcPeerings is not supported"
// +kubebuilder:validation:XValidation:rule="!has(self.enableExternal) || !self.enableExternal",message="enableExternal is not supported: give a Neutron router an external gateway in Neutron"
// +kubebuilder:validation:XValidation:rule="!has(self.enableBfd) || !self.enableBfd",message="enableBfd is not supported"
type VpcSpec struct {
	// Namespaces whose pods may use this Vpc. Empty means all in the Vpc that the
	// nodes are in: ovn-cluster, or the router of the settings' section neutron.
	// +optional
	// +listType=set
	Namespaces []string `json:"namespaces,omitempty"`
	// DefaultSubnet is where pods of Namespaces go that nothing else places.
	// +optional
	DefaultSubnet string `json:"defaultSubnet,omitempty"`

	// StaticRoutes are not supported and must be empty.
	// +optional
	StaticRoutes []Refused `json:"staticRoutes,omitempty"`
	// PolicyRoutes are not supported and must be empty.
	// +optional
	PolicyRoutes []Refused `json:"policyRoutes,omitempty"`
	// VpcPeerings are not supported and must be empty.
	// +optional
	VpcPeerings []Refused `json:"vpcPeerings,omitempty"`
	// EnableExternal is not supported and must not be true.
	// +optional
	EnableExternal bool `json:"enableExternal,omitempty"`
	// EnableBfd is not supported and must not be true.
	// +optional
	EnableBfd bool `json:"enableBfd,omitempty"`
}

// Refused is an object of a field that exists only to be refused with a reason.
//
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XPreserveUnknownFields
type Refused struct{}

// VpcStatus says what the router is.
type VpcStatus struct {
	// Standby is true once the router exists in OVN.
	// +kubebuilder:default=false
	Standby bool `json:"standby"`
	// Default is true for Vpc ovn-cluster.
	// +optional
	Default bool `json:"default,omitempty"`
	// Router is the name of the Logical_Router.
	// +optional
	Router string `json:"router,omitempty"`
	// Subnets is the sorted union of all Logical_Switches joined to the router,
	// Neutron's and ours.
	// +optional
	// +listType=set
	Subnets []string `json:"subnets,omitempty"`
	// DefaultLogicalSwitch is the switch of spec.defaultSubnet, once it exists.
	// +optional
	DefaultLogicalSwitch string `json:"defaultLogicalSwitch,omitempty"`
	// Conditions say whether the object is as it asks, and if not, why.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// VpcList is a list of Vpcs.
//
// +kubebuilder:object:root=true
type VpcList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Vpc `json:"items"`
}
