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

// PerNamespace is how namespaces come to Subnets of their own; nil where none does.
type PerNamespace struct {
	Selector labels.Selector
	// Pool is Neutron's pool of prefixes, by id or name; PrefixBits are what one
	// namespace has of it.
	Pool       string
	PrefixBits int
}

// NamespaceSubnet names the Subnet that a namespace has for itself.
func NamespaceSubnet(namespace string) string { return namespacePrefix + namespace }

const namespacePrefix = "ns-"

// Has tells whether a namespace is to have a Subnet of its own: not where it is
// going, nor where somebody has made another for it.
func (p *PerNamespace) Has(ns *corev1.Namespace, all []*v1.Subnet) bool {
	if p == nil || ns == nil || !ns.DeletionTimestamp.IsZero() || !p.Selector.Matches(labels.Set(ns.Labels)) {
		return false
	}
	return !slices.ContainsFunc(all, func(s *v1.Subnet) bool {
		return s.Name != NamespaceSubnet(ns.Name) && slices.Contains(s.Spec.Namespaces, ns.Name)
	})
}

// Template is a namespace's Subnet without its prefix, which Neutron chooses.
func (p *PerNamespace) Template(namespace, home string) *v1.Subnet {
	return &v1.Subnet{
		ObjectMeta: metav1.ObjectMeta{Name: NamespaceSubnet(namespace), Labels: map[string]string{v1.LabelNamespace: namespace}},
		Spec:       v1.SubnetSpec{Vpc: home, Provider: string(intent.FabricNeutron), Namespaces: []string{namespace}},
	}
}

// Chosen completes a template with the network that Neutron made for it.
func Chosen(s *v1.Subnet, n CloudNetwork) *v1.Subnet {
	out := s.DeepCopy()
	texts := make([]string, 0, len(n.Prefixes))
	for _, p := range n.Prefixes {
		texts = append(texts, p.String())
	}
	out.Spec.CIDRBlock = strings.Join(texts, ",")
	if net, err := NetOf(&out.Spec); err == nil && !slices.Equal(net.Gateways, n.Gateways) {
		out.Spec.Gateway = join(n.Gateways)
	}
	return out
}

// absent decides for a Subnet that is not there: nothing, or what has to be
// there before the object can be made.
func absent(f SubnetFacts) intent.Decision[SubnetReport] {
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

// leftover tells whether a Subnet was made for a namespace that no longer is to have one.
func leftover(f SubnetFacts) bool {
	ns := f.Subnet.Labels[v1.LabelNamespace]
	return ns != "" && f.Name == NamespaceSubnet(ns) && f.Template == nil && f.Subnet.DeletionTimestamp.IsZero()
}
