// Package v1 holds the kubeovn.io/v1 objects that a cloud operator writes and
// reads: Vpc, Subnet and IP. Names, fields and columns are the ones that
// Kube-OVN's users know; what Isthmus does not act on is refused by the schema.
//
// +kubebuilder:object:generate=true
// +groupName=kubeovn.io
package v1
