package decide

import (
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Leases allocates addresses. Errors are intent.Wait or intent.Stop. A unit keeps
// its addresses until the controller releases them; this package never releases
// any.
type Leases interface {
	// Held returns the addresses that the unit has in the Subnet; none if it has
	// none.
	Held(subnet string, u intent.Unit) []netip.Addr
	// Next allocates one address of each family. If called again, it returns the
	// same addresses.
	Next(subnet string, u intent.Unit) ([]netip.Addr, error)
	// Claim allocates exactly these addresses.
	Claim(subnet string, u intent.Unit, addrs []netip.Addr) error
}

// ClaimOn returns an IP object with these addresses of the Subnet. The caller
// fills in the owner. It errs with an intent.Wait if the Subnet's spec cannot be
// read.
func ClaimOn(s *v1.Subnet, port string, addrs []netip.Addr) (*v1.IP, error) {
	net, err := NetOf(&s.Spec)
	if err != nil {
		return nil, intent.Wait{Reason: "SubnetNotReady", For: "Subnet " + s.Name + " to be mended: " + err.Error()}
	}
	ip := &v1.IP{
		ObjectMeta: metav1.ObjectMeta{Name: port, Labels: map[string]string{v1.LabelSubnet: s.Name}},
		Spec: v1.IPSpec{
			Subnet: s.Name, MTU: s.Status.MTU, MacAddress: string(MAC(addrs[0])),
			Attach: v1.Attach{OVS: &v1.AttachOVS{IfaceID: port}},
		},
	}
	for _, a := range addrs {
		setAddr(&ip.Spec, a, net)
	}
	return ip, nil
}

// SetAddrs writes addresses of the Subnet into a claim. It errs if the Subnet's
// spec cannot be read.
func SetAddrs(ip *v1.IP, s *v1.Subnet, addrs []netip.Addr) error {
	net, err := NetOf(&s.Spec)
	for _, a := range addrs {
		setAddr(&ip.Spec, a, net)
	}
	return err
}

// Attached tells whether a claim says how to plug the interface. The claim may be
// nil.
func Attached(ip *v1.IP) bool {
	return ip != nil && (ip.Spec.Attach.OVS != nil || ip.Spec.Attach.VLAN != nil && ip.Spec.Attach.VLAN.Tag != 0)
}

// setAddr writes an address, and the prefix length and gateway of the prefix that
// contains it, into s.
func setAddr(s *v1.IPSpec, a netip.Addr, net Net) {
	for i, p := range net.Prefixes {
		switch {
		case !p.Contains(a):
		case a.Is4():
			s.V4IPAddress, s.V4PrefixLength, s.V4Gateway = a.String(), int32(p.Bits()), net.Gateways[i].String()
		default:
			s.V6IPAddress, s.V6PrefixLength, s.V6Gateway = a.String(), int32(p.Bits()), net.Gateways[i].String()
		}
	}
}

// PortOf returns the port that a claim describes.
func PortOf(ip *v1.IP) intent.Port {
	p := intent.Port{
		Name: ip.Name, Network: ip.Spec.Subnet, MAC: intent.MAC(ip.Spec.MacAddress), Addrs: Addrs(ip), Node: ip.Spec.NodeName,
	}
	if a := ip.Spec.Attach.OVS; a != nil {
		p.Version = a.IfaceIDVer
	}
	return p
}

// Addrs returns the addresses in a claim, IPv4 first.
func Addrs(ip *v1.IP) []netip.Addr {
	var addrs []netip.Addr
	for _, text := range []string{ip.Spec.V4IPAddress, ip.Spec.V6IPAddress} {
		if a, err := netip.ParseAddr(text); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// Holds tells whether the unit has exactly the addresses that the claim names.
func Holds(l Leases, u intent.Unit, ip *v1.IP) bool {
	held, addrs := l.Held(ip.Spec.Subnet, u), Addrs(ip)
	return len(addrs) > 0 && len(addrs) == len(held) && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !slices.Contains(held, a) })
}
