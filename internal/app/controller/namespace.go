package controller

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/topology"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// namespaceSubnets are the Subnets that we create for namespaces.
type namespaceSubnets struct {
	client   client.Client
	topology topology.Topology
	// settings is nil if no namespace has a Subnet of its own.
	settings *decide.PerNamespace
}

// perNamespace reads the settings. It returns nil if no namespace has a Subnet of
// its own.
func perNamespace(n *settings.Neutron) (*decide.PerNamespace, error) {
	if n == nil || n.SubnetPerNamespace == nil {
		return nil, nil
	}
	s := n.SubnetPerNamespace
	selector, err := s.Selector()
	return &decide.PerNamespace{Selector: selector, Pool: s.SubnetPool, PrefixBits: s.PrefixLength}, err
}

// gather adds the template to f if f is a namespace's own Subnet.
func (n namespaceSubnets) gather(ctx context.Context, f *decide.SubnetFacts, all []*v1.Subnet) error {
	name, is := strings.CutPrefix(f.Name, decide.NamespaceSubnet(""))
	if n.settings == nil || !is {
		return nil
	}
	ns, err := kube.Namespace(ctx, n.client, name)
	if err == nil && n.settings.Has(ns, all) {
		f.Template, f.PerNamespace = n.settings.Template(name, n.topology.NodeVpc()), n.settings
	}
	return err
}

// ofNamespace is a map function. It returns the namespace's own Subnet, whether
// the namespace is to have one or not.
func (n namespaceSubnets) ofNamespace(_ context.Context, o client.Object) []types.NamespacedName {
	if n.settings == nil {
		return nil
	}
	return trigger.Names(decide.NamespaceSubnet(o.GetName()))
}

// ofSubnet is a map function. It returns the own Subnets of the namespaces that a
// Subnet names.
func (n namespaceSubnets) ofSubnet(_ context.Context, o client.Object) []types.NamespacedName {
	if n.settings == nil {
		return nil
	}
	var out []types.NamespacedName
	for _, ns := range o.(*v1.Subnet).Spec.Namespaces {
		out = append(out, trigger.Names(decide.NamespaceSubnet(ns))...)
	}
	return out
}

// runAll runs the own Subnets of all namespaces, also those that do not exist.
func (n namespaceSubnets) runAll(ctx context.Context, q *trigger.Queues) error {
	all, err := kube.Namespaces(ctx, n.client)
	for _, ns := range all {
		for _, s := range n.ofNamespace(ctx, ns) {
			q.Add(intent.Unit("subnet/" + s.Name))
		}
	}
	return err
}
