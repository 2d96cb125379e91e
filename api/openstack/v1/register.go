package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion names the group and version of the types in this package.
var GroupVersion = schema.GroupVersion{Group: "openstack.org", Version: "v1"}

// AddToScheme makes the types of this package known to s.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &KuryrLoadBalancer{}, &KuryrLoadBalancerList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
