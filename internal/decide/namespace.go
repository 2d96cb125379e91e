package decide

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PerNamespace is the configuration of Subnets per namespace; nil if namespaces
// get none.
type PerNamespace struct {
	Selector labels.Selector
	// Pool is the id or name of the Neutron subnet pool. PrefixBits is the prefix
	// length of one namespace's share of it.
	Pool       string
	PrefixBits int
}

// NamespaceSubnet returns the name of a namespace's own Subnet.
func NamespaceSubnet(namespace string) string { return namespacePrefix + namespace }

const namespacePrefix = "ns-"

// Has tells whether a namespace is to have a Subnet of its own. It is not if it
// is being deleted or if a user has made another Subnet for it. p and ns may be
// nil.
func (p *PerNamespace) Has(ns *corev1.Namespace, all []*v1.Subnet) bool {
	if p == nil || ns == nil || !ns.DeletionTimestamp.IsZero() || !p.Selector.Matches(labels.Set(ns.Labels)) {
		return false
	}
	return !slices.ContainsFunc(all, func(s *v1.Subnet) bool {
		return s.Name != NamespaceSubnet(ns.Name) && slices.Contains(s.Spec.Namespaces, ns.Name)
	})
}

// Template returns a namespace's Subnet without a prefix. Neutron chooses the
// prefix.
func (p *PerNamespace) Template(namespace, home string) *v1.Subnet {
	return &v1.Subnet{
		ObjectMeta: metav1.ObjectMeta{Name: NamespaceSubnet(namespace), Labels: map[string]string{v1.LabelNamespace: namespace}},
		Spec:       v1.SubnetSpec{Vpc: home, Provider: string(intent.FabricNeutron), Namespaces: []string{namespace}},
	}
}

// WithNetwork returns a copy of a template with the prefixes and gateways of the
// network that Neutron created.
func WithNetwork(s *v1.Subnet, n CloudNetwork) *v1.Subnet {
	out := s.DeepCopy()
	texts := make([]string, 0, len(n.Prefixes))
	for _, p := range n.Prefixes {
		texts = append(texts, p.String())
	}
	out.Spec.CIDRBlock = strings.Join(texts, ",")
	if net, err := NetOf(&out.Spec); err == nil && !slices.Equal(net.Gateways, n.Gateways) {
		out.Spec.Gateway = joinAddrs(n.Gateways)
	}
	return out
}

// absentSubnet decides for a Subnet that does not exist. It wants nothing, or the
// network that Neutron must create before the object can be created.
func absentSubnet(f SubnetFacts) intent.Decision[SubnetReport] {
	if f.Template == nil {
		return intent.Remove(SubnetReport{})
	}
	report := SubnetReport{Action: Make}
	if f.Template.Spec.CIDRBlock != "" || f.PerNamespace == nil {
		return intent.Remove(report)
	}
	want := intent.Want{
		Fabric:           intent.FabricNeutron,
		Networks:         []intent.Network{{Name: f.Name, SubnetPool: f.PerNamespace.Pool, PrefixBits: f.PerNamespace.PrefixBits}},
		RouterInterfaces: []intent.RouterInterface{{Network: f.Name, Router: f.Template.Spec.Vpc, Foreign: true}},
	}
	return intent.Apply(want, report)
}

// isLeftover tells whether a Subnet was made for a namespace that should not have
// one any more.
func isLeftover(f SubnetFacts) bool {
	ns := f.Subnet.Labels[v1.LabelNamespace]
	return ns != "" && f.Name == NamespaceSubnet(ns) && f.Template == nil && f.Subnet.DeletionTimestamp.IsZero()
}
