package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KuryrLoadBalancer is the Octavia load balancer of the Service of its name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=klb
// +kubebuilder:printcolumn:name="IP",type=string,JSONPath=`.spec.ip`
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Public-IP",type=string,JSONPath=`.status.service_pub_ip_info.ip_addr`
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Why",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Load-Balancer",type=string,priority=1,JSONPath=`.status.loadbalancer.id`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type KuryrLoadBalancer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the Service asks of its load balancer.
	Spec KuryrLoadBalancerSpec `json:"spec"`
	// +optional
	Status KuryrLoadBalancerStatus `json:"status,omitempty"`
}

// ConditionReady is true when Octavia has all that the Service asks for.
const ConditionReady = "Ready"

// KuryrLoadBalancerSpec is what the Service and its EndpointSlices ask for.
type KuryrLoadBalancerSpec struct {
	// IP is the Service's cluster IP.
	IP string `json:"ip"`
	// LBIP is the address from outside that the Service asks for.
	// +optional
	LBIP string `json:"lb_ip,omitempty"`
	// Type of the Service.
	// +optional
	Type string `json:"type,omitempty"`
	// +optional
	Provider string `json:"provider,omitempty"`
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// +optional
	SubnetID string `json:"subnet_id,omitempty"`
	// +optional
	SecurityGroupsIDs []string `json:"security_groups_ids,omitempty"`
	// +optional
	Ports []ServicePort `json:"ports,omitempty"`
	// +optional
	EndpointSlices []EndpointSlice `json:"endpointSlices,omitempty"`
	// TimeoutClientData and TimeoutMemberData are in milliseconds.
	// +optional
	TimeoutClientData int64 `json:"timeout_client_data,omitempty"`
	// +optional
	TimeoutMemberData int64 `json:"timeout_member_data,omitempty"`
}

// ServicePort is one of the Service's ports.
type ServicePort struct {
	// +optional
	Name string `json:"name,omitempty"`
	// Port is the port number.
	Port int32 `json:"port"`
	// Protocol is TCP, UDP or SCTP.
	Protocol string `json:"protocol"`
	// TargetPort is a number or a name.
	TargetPort string `json:"targetPort"`
}

// EndpointSlice holds addresses behind the Service and the ports that they have.
type EndpointSlice struct {
	// +optional
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// +optional
	Ports []EndpointPort `json:"ports,omitempty"`
}

// Endpoint is something behind the Service.
type Endpoint struct {
	// +optional
	Addresses []string `json:"addresses,omitempty"`
	// +optional
	Conditions EndpointConditions `json:"conditions,omitempty"`
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// +optional
	TargetRef *TargetRef `json:"targetRef,omitempty"`
}

// EndpointConditions say whether an Endpoint gets traffic.
type EndpointConditions struct {
	// +optional
	Ready bool `json:"ready,omitempty"`
}

// TargetRef names the object behind an Endpoint: a Pod.
type TargetRef struct {
	// +optional
	Kind string `json:"kind,omitempty"`
	// +optional
	Name string `json:"name,omitempty"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// +optional
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// +optional
	UID string `json:"uid,omitempty"`
}

// EndpointPort is a port of all Endpoints of a slice.
type EndpointPort struct {
	// +optional
	Name string `json:"name,omitempty"`
	// +optional
	Port int32 `json:"port,omitempty"`
	// +optional
	Protocol string `json:"protocol,omitempty"`
}

// KuryrLoadBalancerStatus is what there is in Octavia and Neutron.
type KuryrLoadBalancerStatus struct {
	// +optional
	LoadBalancer *LoadBalancer `json:"loadbalancer,omitempty"`
	// +optional
	Listeners []Listener `json:"listeners,omitempty"`
	// +optional
	Pools []Pool `json:"pools,omitempty"`
	// +optional
	Members []Member `json:"members,omitempty"`
	// +optional
	ServicePubIPInfo *PublicIP `json:"service_pub_ip_info,omitempty"`
	// Conditions: Ready says whether all is there, and why not.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// LoadBalancer is one of Octavia's.
type LoadBalancer struct {
	// ID is the id in OpenStack.
	ID string `json:"id"`
	// IP is the address.
	IP string `json:"ip"`
	// Name is the name in OpenStack.
	Name string `json:"name"`
	// PortID is Neutron's port of the IP.
	// +optional
	PortID string `json:"port_id,omitempty"`
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// +optional
	Provider string `json:"provider,omitempty"`
	// +optional
	SecurityGroups []string `json:"security_groups,omitempty"`
	// +optional
	SubnetID string `json:"subnet_id,omitempty"`
}

// Listener is a port of the load balancer.
type Listener struct {
	// ID is the id in OpenStack.
	ID string `json:"id"`
	// LoadBalancerID is the id of the load balancer.
	LoadBalancerID string `json:"loadbalancer_id"`
	// Name is the name in OpenStack.
	Name string `json:"name"`
	// Port is the port number.
	Port int32 `json:"port"`
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// Protocol is TCP, UDP or SCTP.
	Protocol string `json:"protocol"`
	// +optional
	TimeoutClientData int64 `json:"timeout_client_data,omitempty"`
	// +optional
	TimeoutMemberData int64 `json:"timeout_member_data,omitempty"`
}

// Pool is the set of members behind a listener.
type Pool struct {
	// ID is the id in OpenStack.
	ID string `json:"id"`
	// ListenerID is the id of the listener.
	ListenerID string `json:"listener_id"`
	// LoadBalancerID is the id of the load balancer.
	LoadBalancerID string `json:"loadbalancer_id"`
	// Name is the name in OpenStack.
	Name string `json:"name"`
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// Protocol is TCP, UDP or SCTP.
	Protocol string `json:"protocol"`
}

// Member is an address in a pool.
type Member struct {
	// ID is the id in OpenStack.
	ID string `json:"id"`
	// IP is the address.
	IP string `json:"ip"`
	// Name is the name in OpenStack.
	Name string `json:"name"`
	// PoolID is the id of the pool.
	PoolID string `json:"pool_id"`
	// Port is the port number.
	Port int32 `json:"port"`
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// +optional
	SubnetID string `json:"subnet_id,omitempty"`
}

// PublicIP is a floating IP.
type PublicIP struct {
	// IPID is the id of the floating IP in Neutron.
	IPID string `json:"ip_id"`
	// IPAddr is the floating IP.
	IPAddr string `json:"ip_addr"`
	// AllocMethod is "pool" for one that we made, "user" for the user's own.
	AllocMethod string `json:"alloc_method"`
}

// KuryrLoadBalancerList is a list of KuryrLoadBalancers.
//
// +kubebuilder:object:root=true
type KuryrLoadBalancerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KuryrLoadBalancer `json:"items"`
}
