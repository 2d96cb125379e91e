package controller

import (
	"context"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/controller/kube"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

// defaultMTU is assumed while neither the settings nor a node says better.
const defaultMTU = 1500

func (c *cluster) gatherSubnet(ctx context.Context, n types.NamespacedName) (decide.SubnetFacts, error) {
	f := decide.SubnetFacts{Name: n.Name, Template: c.template(n.Name), PortPrefix: *c.settings.RouterPortPrefix, NodeVpc: c.nodeVpc()}
	all, err := kube.Subnets(ctx, c.client)
	if err != nil {
		return f, err
	}
	for _, s := range all {
		if s.Name == n.Name {
			f.Subnet = s
		} else {
			f.Others = append(f.Others, s)
		}
	}
	if err := c.gatherOwn(ctx, &f, all); err != nil {
		return f, err
	}
	if f.Subnet == nil {
		return f, nil
	}
	f.Users = c.claims.Owners(n.Name)
	if f.Vpc, err = kube.Get[v1.Vpc](ctx, c.client, types.NamespacedName{Name: f.Subnet.Spec.Vpc}); err != nil {
		return f, err
	}
	if f.Router, err = c.router(f.Subnet.Spec.Vpc); err != nil {
		return f, err
	}
	var nodes corev1.NodeList
	if err := c.client.List(ctx, &nodes); err != nil {
		return f, err
	}
	f.Nodes, f.UnderlayMTU = nodeAddrs(nodes.Items), c.underlayMTU(nodes.Items)
	return f, nil
}

func nodeAddrs(nodes []corev1.Node) []decide.NodeAddr {
	var out []decide.NodeAddr
	for i := range nodes {
		for _, a := range nodes[i].Status.Addresses {
			addr, err := netip.ParseAddr(a.Address)
			if err == nil && a.Type == corev1.NodeInternalIP {
				out = append(out, decide.NodeAddr{Node: nodes[i].Name, Addr: addr})
			}
		}
	}
	return out
}

// underlayMTU is the settings', else the least that an agent reports.
func (c *cluster) underlayMTU(nodes []corev1.Node) int {
	if c.settings.UnderlayMTU != 0 {
		return c.settings.UnderlayMTU
	}
	least := 0
	for i := range nodes {
		m, err := strconv.Atoi(nodes[i].Annotations[v1.AnnotationUnderlayMTU])
		// No tunnel begins in a virtual machine.
		if err == nil && m > 0 && !decide.Nested(&nodes[i]) && (least == 0 || m < least) {
			least = m
		}
	}
	if least == 0 {
		return defaultMTU
	}
	return least
}

// template is what to make if a Subnet that every cluster has is not there.
func (c *cluster) template(name string) *v1.Subnet {
	s := &v1.Subnet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.SubnetSpec{Vpc: c.nodeVpc()}}
	if !c.settings.Overlay() {
		return c.podTemplate(name, s)
	}
	switch name {
	case v1.DefaultSubnet:
		s.Spec.CIDRBlock, s.Spec.Default, s.Spec.NatOutgoing = c.settings.DefaultCIDR, true, true
	case v1.JoinSubnet:
		s.Spec.CIDRBlock = c.settings.JoinCIDR
	default:
		return nil
	}
	return s
}

// podTemplate completes a template for Subnet pods, once it is known what the
// settings name.
func (c *cluster) podTemplate(name string, s *v1.Subnet) *v1.Subnet {
	if name != v1.PodSubnet || !c.nodeVpcFound() {
		return nil
	}
	network, known := c.cloud.Load().PodNetwork()
	if !known {
		return nil
	}
	s.Spec.CIDRBlock, s.Spec.Default, s.Spec.Provider = c.settings.Neutron.PodCIDR, true, string(intent.FabricNeutron)
	s.Spec.Network = network
	return s
}

func (c *cluster) holdSubnet(ctx context.Context, f decide.SubnetFacts, told decide.SubnetReport) error {
	if told.Action != decide.Hold {
		return nil
	}
	return kube.AddFinalizer(ctx, c.client, f.Subnet)
}

func (c *cluster) reportSubnet(ctx context.Context, f decide.SubnetFacts, told decide.SubnetReport, out unit.Outcome) error {
	switch {
	case told.Action == decide.Make:
		return c.makeSubnet(ctx, f, out)
	case told.Action == decide.Remove:
		return client.IgnoreNotFound(c.client.Delete(ctx, f.Subnet, client.Preconditions{UID: &f.Subnet.UID}))
	case told.Action == decide.Release && out.Applied:
		if err := c.keepPools(ctx, f.Name); err != nil {
			return err
		}
		c.claims.Drop(f.Name)
		return kube.RemoveFinalizer(ctx, c.client, f.Subnet)
	case f.Subnet == nil:
		c.claims.Drop(f.Name)
		return nil
	}
	// Before the Subnet is called ready, for then pods come.
	if out.State == unit.Done {
		if err := c.claims.Define(f.Name, told.Net.Prefixes, told.Net.Excluded); err != nil {
			return err
		}
	}
	after := f.Subnet.DeepCopy()
	after.Status = told.Status
	if cl := c.cloud.Load(); cl != nil && decide.FabricOf(f.Subnet) == intent.FabricNeutron {
		if network, known := cl.Network(f.Name); known {
			decide.SubnetSeen(&after.Status, &after.Spec, network)
		}
	}
	c.count(f.Name, &after.Status)
	after.Status.Conditions = c.reporter.conditions(f.Subnet, f.Subnet.Status.Conditions, out)
	return kube.PatchStatus(ctx, c.client, f.Subnet, after, f.Subnet.Status, after.Status)
}

func (c *cluster) count(subnet string, s *v1.SubnetStatus) {
	v4, v6 := c.claims.Counts(subnet)
	s.V4UsingIPs, s.V4AvailableIPs = v4.Used, v4.Available
	s.V6UsingIPs, s.V6AvailableIPs = v6.Used, v6.Available
}
