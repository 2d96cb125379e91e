package controller

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/settings"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// namespaceUnread is why what is in a namespace waits: the object came before
// its namespace, for each kind is watched for itself.
const namespaceUnread = "NamespaceUnread"

func unreadNamespace(name string) error {
	return intent.Wait{Reason: namespaceUnread, After: time.Second, For: "namespace " + name + " to be read"}
}

// perNamespace is the settings' word, nil for none.
func perNamespace(n *settings.Neutron) (*decide.PerNamespace, error) {
	if n == nil || n.SubnetPerNamespace == nil {
		return nil, nil
	}
	s := n.SubnetPerNamespace
	selector, err := s.Selector()
	return &decide.PerNamespace{Selector: selector, Pool: s.SubnetPool, PrefixBits: s.PrefixLength}, err
}

// gatherOwn finds what a namespace's own Subnet is to be, if there is to be one
// of that name.
func (c *cluster) gatherOwn(ctx context.Context, f *decide.SubnetFacts, all []*v1.Subnet) error {
	name, is := namespaceOf(f.Name)
	if c.perNamespace == nil || !is {
		return nil
	}
	ns, err := kube.Namespace(ctx, c.client, name)
	if err == nil && c.perNamespace.Has(ns, all) {
		f.Template, f.PerNamespace = c.perNamespace.Template(name, c.nodeVpc()), c.perNamespace
	}
	return err
}

// namespaceOf is the namespace whose own Subnet would have that name.
func namespaceOf(subnet string) (string, bool) {
	return strings.CutPrefix(subnet, decide.NamespaceSubnet(""))
}

// makeSubnet makes a Subnet that is missing; one whose prefix Neutron chooses,
// once it has. There is only the namespace to tell what keeps it from that.
func (c *cluster) makeSubnet(ctx context.Context, f decide.SubnetFacts, out unit.Outcome) error {
	if f.PerNamespace == nil {
		return c.client.Create(ctx, f.Template)
	}
	ns, err := kube.Namespace(ctx, c.client, f.Template.Labels[v1.LabelNamespace])
	if err != nil || ns == nil {
		return err
	}
	c.reporter.problem(ns, out)
	network, known := c.cloud.Load().Network(f.Name)
	if !out.Applied || !known || len(network.Prefixes) == 0 {
		return nil
	}
	return c.client.Create(ctx, decide.Chosen(f.Template, network))
}

// subnetOfNamespace is the namespace's own, whether it is to have one or not.
func (c *cluster) subnetOfNamespace(_ context.Context, o client.Object) []types.NamespacedName {
	if c.perNamespace == nil {
		return nil
	}
	return trigger.Names(decide.NamespaceSubnet(o.GetName()))
}

// namespaceSubnetsOfSubnet are those of the namespaces that a Subnet names.
func (c *cluster) namespaceSubnetsOfSubnet(_ context.Context, o client.Object) []types.NamespacedName {
	if c.perNamespace == nil {
		return nil
	}
	var out []types.NamespacedName
	for _, ns := range o.(*v1.Subnet).Spec.Namespaces {
		out = append(out, trigger.Names(decide.NamespaceSubnet(ns))...)
	}
	return out
}

// wakeOwnSubnets wakes those that are not there yet.
func (c *cluster) wakeOwnSubnets(ctx context.Context, q *trigger.Queues) error {
	var all corev1.NamespaceList
	err := c.client.List(ctx, &all)
	for i := range all.Items {
		for _, n := range c.subnetOfNamespace(ctx, &all.Items[i]) {
			q.Add(intent.Unit("subnet/" + n.Name))
		}
	}
	return err
}
