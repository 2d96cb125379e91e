package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IP is the claim of one interface: who has which addresses, and how the node
// attaches it. It is named as its Logical_Switch_Port, <pod>.<namespace> or
// node-<node>. The agent on the node believes it and nothing else; only the
// controller may write it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=ip
// +kubebuilder:printcolumn:name="V4IP",type=string,JSONPath=`.spec.v4IpAddress`
// +kubebuilder:printcolumn:name="V6IP",type=string,priority=1,JSONPath=`.spec.v6IpAddress`
// +kubebuilder:printcolumn:name="Mac",type=string,JSONPath=`.spec.macAddress`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Subnet",type=string,JSONPath=`.spec.subnet`
// +kubebuilder:printcolumn:name="Age",type=date,priority=1,JSONPath=`.metadata.creationTimestamp`
type IP struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which port the claim is of, its addresses, and how it is attached.
	Spec IPSpec `json:"spec"`
}

// IPSpec is the claim.
type IPSpec struct {
	// PodName and Namespace are empty in a node's claim.
	// +optional
	PodName string `json:"podName,omitempty"`
	// Namespace is that of the pod or object.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// PodUID is the pod's, or the Node's, metadata.uid: the agent refuses the
	// claim of an earlier pod of that name.
	PodUID string `json:"podUID"`
	// PodType is "StatefulSet" when the claim outlives the pod, else empty.
	// +optional
	PodType string `json:"podType,omitempty"`
	// NodeName is empty while the pod is not bound.
	// +optional
	NodeName string `json:"nodeName,omitempty"`
	// Subnet is the name of the Subnet that the addresses lie in.
	Subnet string `json:"subnet"`
	// V4IPAddress is the IPv4 address; empty if there is none.
	// +optional
	V4IPAddress string `json:"v4IpAddress,omitempty"`
	// V6IPAddress is the IPv6 address; empty if there is none.
	// +optional
	V6IPAddress string `json:"v6IpAddress,omitempty"`
	// MacAddress is the hardware address of the interface.
	MacAddress string `json:"macAddress"`
	// PrefixLengths of the Subnet, by family.
	// +optional
	V4PrefixLength int32 `json:"v4PrefixLength,omitempty"`
	// V6PrefixLength is that of the Subnet in IPv6.
	// +optional
	V6PrefixLength int32 `json:"v6PrefixLength,omitempty"`
	// Gateway is the next hop of the default route, one of each family.
	// +optional
	V4Gateway string `json:"v4Gateway,omitempty"`
	// V6Gateway is the next hop for IPv6.
	// +optional
	V6Gateway string `json:"v6Gateway,omitempty"`
	// MTU of the interface, in bytes.
	MTU int32 `json:"mtu"`
	// Routes beside the default route.
	// +optional
	Routes []Route `json:"routes,omitempty"`
	// HostLink is true where no route leads from the node to the pod: the
	// agent then gives the pod a second interface, host0, for its node's probes.
	// +optional
	HostLink bool `json:"hostLink,omitempty"`
	// Attach says how the interface reaches the network.
	Attach Attach `json:"attach"`
}

// Route is a destination prefix and its next hop.
type Route struct {
	// Destination is the network prefix that the route leads to.
	Destination string `json:"destination"`
	// Gateway is the address of the next hop.
	Gateway string `json:"gateway"`
}

// Attach is exactly one of its members.
//
// +kubebuilder:validation:XValidation:rule="has(self.ovs) != has(self.vlan)",message="exactly one of ovs and vlan"
type Attach struct {
	// +optional
	OVS *AttachOVS `json:"ovs,omitempty"`
	// VLAN is not supported and must be empty.
	// +optional
	VLAN *AttachVLAN `json:"vlan,omitempty"`
}

// AttachOVS plugs a veth into br-int.
type AttachOVS struct {
	// IfaceID is the Logical_Switch_Port's name, external_ids:iface-id.
	IfaceID string `json:"ifaceID"`
	// IfaceIDVer is options:iface-id-ver of the port, empty where it has none.
	// +optional
	IfaceIDVer string `json:"ifaceIDVer,omitempty"`
}

// AttachVLAN makes a VLAN link on the node's trunk interface.
type AttachVLAN struct {
	// Parent is the MAC of the node's trunk interface.
	Parent string `json:"parent"`
	// Tag is the VLAN id.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4094
	Tag int32 `json:"tag"`
	// Port is the id of the port in Neutron, empty where it is OVN's alone.
	// +optional
	Port string `json:"port,omitempty"`
}

// IPList is a list of IPs.
//
// +kubebuilder:object:root=true
type IPList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IP `json:"items"`
}
