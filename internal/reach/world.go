package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// The label that makes a peer an OpenStack security group, and the annotation
// that makes a pod its member.
const (
	labelSecurityGroup       = "openstack.org/security-group"
	annotationSecurityGroups = "openstack.org/security-groups"
)

// World holds the Kubernetes objects that decide reachability, and machines
// outside of the cluster.
type World struct {
	Namespaces []*corev1.Namespace
	Nodes      []*corev1.Node
	Pods       []*corev1.Pod
	Services   []*corev1.Service
	Policies   []*netv1.NetworkPolicy
	Outside    []*Outside
}

// Outside is a machine that is not part of the cluster.
type Outside struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Addr              netip.Addr `json:"addr"`
	// SecurityGroups are the OpenStack security groups that it is a member of.
	SecurityGroups []string `json:"securityGroups"`
}

// Add reads YAML objects separated by "---". A pod's addresses are in its status.
// It errs if an object is invalid or of an unknown kind.
func (w *World) Add(text string) error {
	for doc := range strings.SplitSeq("\n"+text, "\n---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var t metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &t); err != nil {
			return err
		}
		if err := w.add(t.Kind, []byte(doc)); err != nil {
			return fmt.Errorf("%s in\n%s: %w", t.Kind, doc, err)
		}
	}
	return nil
}

func (w *World) add(kind string, doc []byte) error {
	switch kind {
	case "Namespace":
		return read(&w.Namespaces, doc)
	case "Node":
		return read(&w.Nodes, doc)
	case "Pod":
		return read(&w.Pods, doc)
	case "Service":
		return read(&w.Services, doc)
	case "NetworkPolicy":
		return read(&w.Policies, doc)
	case "Outside":
		return read(&w.Outside, doc)
	}
	return fmt.Errorf("unknown kind %q", kind)
}

func read[T any](list *[]*T, doc []byte) error {
	o := new(T)
	if err := yaml.UnmarshalStrict(doc, o); err != nil {
		return err
	}
	*list = append(slices.Clip(*list), o)
	return nil
}

// Addr returns the address of a pod "ns/name", a Service "svc/ns/name", a Node or
// a machine outside. It errs if there is none of that name.
func (w World) Addr(name string) (netip.Addr, error) {
	for _, p := range w.Pods {
		if p.Namespace+"/"+p.Name == name && len(p.Status.PodIPs) > 0 {
			return netip.ParseAddr(p.Status.PodIPs[0].IP)
		}
	}
	for _, s := range w.Services {
		if "svc/"+s.Namespace+"/"+s.Name == name {
			return netip.ParseAddr(s.Spec.ClusterIP)
		}
	}
	for _, n := range w.Nodes {
		if a := nodeAddrs(n); n.Name == name && len(a) > 0 {
			return a[0], nil
		}
	}
	for _, o := range w.Outside {
		if o.Name == name {
			return o.Addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("nobody has the name %q", name)
}

// PodAddrs returns a pod's addresses.
func PodAddrs(p *corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func nodeAddrs(n *corev1.Node) []netip.Addr {
	var out []netip.Addr
	for _, na := range n.Status.Addresses {
		if a, err := netip.ParseAddr(na.Address); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func (w World) pod(a netip.Addr) *corev1.Pod {
	for _, p := range w.Pods {
		if slices.Contains(PodAddrs(p), a) {
			return p
		}
	}
	return nil
}

func (w World) service(a netip.Addr) *corev1.Service {
	for _, s := range w.Services {
		if s.Spec.ClusterIP == a.String() {
			return s
		}
	}
	return nil
}

func (w World) namespaceLabels(name string) map[string]string {
	for _, n := range w.Namespaces {
		if n.Name == name {
			return n.Labels
		}
	}
	return nil
}

// cloudGroups returns the OpenStack security groups that an address is a member
// of.
func (w World) cloudGroups(a netip.Addr) []string {
	if p := w.pod(a); p != nil {
		return strings.FieldsFunc(p.Annotations[annotationSecurityGroups], func(r rune) bool { return r == ',' || r == ' ' })
	}
	for _, o := range w.Outside {
		if o.Addr == a {
			return o.SecurityGroups
		}
	}
	return nil
}
