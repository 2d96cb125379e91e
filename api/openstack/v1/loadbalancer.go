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
	// Provider is the Octavia provider.
	// +optional
	Provider string `json:"provider,omitempty"`
	// ProjectID is the id of the OpenStack project that owns it.
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// SubnetID is the id of the subnet in Neutron.
	// +optional
	SubnetID string `json:"subnet_id,omitempty"`
	// SecurityGroupsIDs are ids of security groups.
	// +optional
	SecurityGroupsIDs []string `json:"security_groups_ids,omitempty"`
	// Ports are the ports.
	// +optional
	Ports []ServicePort `json:"ports,omitempty"`
	// EndpointSlices are those of the Service.
	// +optional
	EndpointSlices []EndpointSlice `json:"endpointSlices,omitempty"`
	// TimeoutClientData and TimeoutMemberData are in milliseconds.
	// +optional
	TimeoutClientData int64 `json:"timeout_client_data,omitempty"`
	// TimeoutMemberData is the idle timeout on the member side, in milliseconds; 0 for the default.
	// +optional
	TimeoutMemberData int64 `json:"timeout_member_data,omitempty"`
}

// ServicePort is one of the Service's ports.
type ServicePort struct {
	// Name is the name.
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
	// Endpoints are the addresses behind the Service.
	// +optional
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Ports are the ports.
	// +optional
	Ports []EndpointPort `json:"ports,omitempty"`
}

// Endpoint is something behind the Service.
type Endpoint struct {
	// Addresses are those of the endpoint; only the first one counts.
	// +optional
	Addresses []string `json:"addresses,omitempty"`
	// Conditions say whether the object is as it asks, and if not, why.
	// +optional
	Conditions EndpointConditions `json:"conditions,omitempty"`
	// Hostname is the name of the endpoint.
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// +optional
	TargetRef *TargetRef `json:"targetRef,omitempty"`
}

// EndpointConditions say whether an Endpoint gets traffic.
type EndpointConditions struct {
	// Ready is true if the endpoint takes traffic.
	// +optional
	Ready bool `json:"ready,omitempty"`
}

// TargetRef names the object behind an Endpoint: a Pod.
type TargetRef struct {
	// Kind is the kind of the object.
	// +optional
	Kind string `json:"kind,omitempty"`
	// Name is the name.
	// +optional
	Name string `json:"name,omitempty"`
	// Namespace is that of the pod or object.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// ResourceVersion is that of the object.
	// +optional
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// UID is that of the object.
	// +optional
	UID string `json:"uid,omitempty"`
}

// EndpointPort is a port of all Endpoints of a slice.
type EndpointPort struct {
	// Name is the name.
	// +optional
	Name string `json:"name,omitempty"`
	// Port is the port number.
	// +optional
	Port int32 `json:"port,omitempty"`
	// Protocol is TCP, UDP or SCTP.
	// +optional
	Protocol string `json:"protocol,omitempty"`
}

// KuryrLoadBalancerStatus is what there is in Octavia and Neutron.
type KuryrLoadBalancerStatus struct {
	// +optional
	LoadBalancer *LoadBalancer `json:"loadbalancer,omitempty"`
	// Listeners are those of the load balancer.
	// +optional
	Listeners []Listener `json:"listeners,omitempty"`
	// Pools are those of the listeners.
	// +optional
	Pools []Pool `json:"pools,omitempty"`
	// Members are those of all pools.
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
	// ProjectID is the id of the OpenStack project that owns it.
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// Provider is the Octavia provider.
	// +optional
	Provider string `json:"provider,omitempty"`
	// SecurityGroups are ids of security groups.
	// +optional
	SecurityGroups []string `json:"security_groups,omitempty"`
	// SubnetID is the id of the subnet in Neutron.
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
	// ProjectID is the id of the OpenStack project that owns it.
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// Protocol is TCP, UDP or SCTP.
	Protocol string `json:"protocol"`
	// TimeoutClientData is the idle timeout on the client side, in milliseconds; 0 for the default.
	// +optional
	TimeoutClientData int64 `json:"timeout_client_data,omitempty"`
	// TimeoutMemberData is the idle timeout on the member side, in milliseconds; 0 for the default.
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
	// ProjectID is the id of the OpenStack project that owns it.
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
	// ProjectID is the id of the OpenStack project that owns it.
	// +optional
	ProjectID string `json:"project_id,omitempty"`
	// SubnetID is the id of the subnet in Neutron.
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
