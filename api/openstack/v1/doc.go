// Package v1 holds the openstack.org/v1 objects that show what a cluster has in
// OpenStack: KuryrLoadBalancer. Names, fields and columns are the ones that
// Kuryr-Kubernetes' users know. They are records: the controller writes them,
// and what is changed in them changes nothing in OpenStack.
//
// +kubebuilder:object:generate=true
// +groupName=openstack.org
package v1
