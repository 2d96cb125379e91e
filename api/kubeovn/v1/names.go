package v1

// Names that the API's users see, in labels, annotations and conditions.
const (
	// LabelVpcExternal is "true" on a Vpc whose router somebody else owns.
	LabelVpcExternal = "ovn.kubernetes.io/vpc_external"
	// LabelSubnet and LabelNode are on each IP.
	LabelSubnet = "ovn.kubernetes.io/subnet"
	LabelNode   = "ovn.kubernetes.io/node-name"

	// LabelNamespace is on a Subnet that was made for that namespace.
	LabelNamespace = "isthmus.io/namespace"

	// Annotations on pods are requests; the answer is the pod's IP object.
	AnnotationIPAddress  = "ovn.kubernetes.io/ip_address"
	AnnotationMACAddress = "ovn.kubernetes.io/mac_address"
	AnnotationSubnet     = "ovn.kubernetes.io/logical_switch"

	// AnnotationUnderlayMTU is written by the agent on its Node: the MTU of the
	// interface that bears the tunnel address.
	AnnotationUnderlayMTU = "isthmus.io/underlay-mtu"

	// Plug, PlugOVS or PlugVLAN: how pods of a Node are plugged. As an annotation
	// it is what the agent found there; as a label it is the user's word, and wins.
	Plug     = "isthmus.io/plug"
	PlugOVS  = "ovs"
	PlugVLAN = "vlan"
	// LabelPodVIF is Kuryr's word for the same: nested-vlan or neutron-vif.
	LabelPodVIF = "pod_vif"
	// ParentPort is the id of the Neutron port that a Node has as a virtual
	// machine, for pods behind it; a label or an annotation, and only needed
	// where the port is not found by the Node's provider id or address.
	ParentPort = "isthmus.io/parent-port"
	// AnnotationMACs is written by the agent on its Node if that is a virtual
	// machine: the MAC addresses of its interfaces, with commas between. A port that
	// merely has the Node's address is the Node's only if it has one of these.
	AnnotationMACs = "isthmus.io/macs"

	// Finalizer is on our own kinds only, never on pods.
	Finalizer = "kubeovn.io/isthmus-controller"

	// DefaultVpc, DefaultSubnet and JoinSubnet are made by the controller.
	DefaultVpc    = "ovn-cluster"
	DefaultSubnet = "ovn-default"
	JoinSubnet    = "join"
	// PodSubnet stands in their place where Neutron makes all networks.
	PodSubnet = "pods"

	// ConditionReady is True when OVN holds all that the object asks for.
	ConditionReady = "Ready"
)
