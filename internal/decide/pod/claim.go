package pod

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// ClaimFacts are the facts about the address that the pod has or may get.
type ClaimFacts struct {
	// Claim is the IP object that has the name of the pod's port; nil if there is
	// none.
	Claim *v1.IP
	// Kept is true if the pod's StatefulSet still wants a pod of that name.
	Kept bool
	// SameMAC are the claims with the MAC address that the pod asks for.
	SameMAC []*v1.IP
	// Leases gives out addresses.
	Leases decide.Leases
}

// StatefulSet is the kind of the controllers whose pods keep their addresses.
const StatefulSet = "StatefulSet"

// ownsClaim tells whether the claim belongs to this pod or to an earlier pod of
// the same name.
func ownsClaim(f Facts) bool { return f.Claim != nil && decide.IPUnit(f.Claim) == unitOf(f) }

// stickyClaim returns the claim that outlives the pod of a StatefulSet; nil if
// there is none.
func stickyClaim(f Facts) *v1.IP {
	if ownsClaim(f) && f.Kept && f.Claim.Spec.PodType == StatefulSet {
		return f.Claim
	}
	return nil
}

// attached tells whether the claim belongs to this very pod, says how it is
// plugged, and has addresses that the pod holds. After a crash of the controller
// another pod may hold them.
func attached(f Facts) bool {
	return ownsClaim(f) && f.Claim.Spec.PodUID == uid(f.Pod) && decide.Attached(f.Claim) && decide.Holds(f.Leases, unitOf(f), f.Claim)
}

// presentClaim returns a copy of the claim if the pod is attached as the claim
// says; nil otherwise. A Neutron port cannot change between Open vSwitch and
// VLAN.
func presentClaim(f Facts) *v1.IP {
	if !attached(f) || decide.FabricOfIP(f.Claim) == intent.FabricNeutron && nested(f) != (f.Claim.Spec.Attach.VLAN != nil) {
		return nil
	}
	ip := &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: f.Claim.Name, Labels: map[string]string{v1.LabelSubnet: f.Claim.Spec.Subnet}}}
	f.Claim.Spec.DeepCopyInto(&ip.Spec)
	return ip
}

// claim allocates an address in the Subnet and returns a claim of it. It errs
// with an intent.Wait or an intent.Stop.
func claim(f Facts, s *v1.Subnet) (*v1.IP, error) {
	mac, err := askedMAC(f, s)
	if err != nil {
		return nil, err
	}
	take := claimOVN
	if decide.FabricOf(s) == intent.FabricNeutron {
		take = claimNeutron
	}
	ip, err := take(f, s)
	if err != nil {
		return nil, err
	}
	if mac != "" {
		ip.Spec.MacAddress = string(mac)
	}
	ip.Spec.PodName, ip.Spec.Namespace, ip.Spec.PodUID = f.Name, f.Namespace, uid(f.Pod)
	ip.Spec.HostLink = s.Spec.Vpc != decide.NodeVpcOf(f.NodeVpc)
	return ip, nil
}

func claimOVN(f Facts, s *v1.Subnet) (*v1.IP, error) {
	addrs, err := allocate(f, s)
	if err != nil {
		return nil, err
	}
	ip, err := decide.ClaimOn(s, decide.PodPort(f.Namespace, f.Name), addrs)
	if err != nil {
		return nil, err
	}
	ip.Spec.Attach.OVS.IfaceIDVer = uid(f.Pod)
	if c := metav1.GetControllerOf(f.Pod); c != nil && c.Kind == StatefulSet {
		ip.Spec.PodType = StatefulSet
	}
	return ip, nil
}

// claimNeutron returns a claim without what Neutron chooses; decide.Bind adds
// that later. The claim has an address only if the pod asks for one. A pod that
// asks for none may get a port from a pool.
//
// The address of a StatefulSet's pod does not outlive the pod: the port returns
// to the pool with its address.
func claimNeutron(f Facts, s *v1.Subnet) (*v1.IP, error) {
	ip := &v1.IP{
		ObjectMeta: metav1.ObjectMeta{Name: decide.PodPort(f.Namespace, f.Name), Labels: map[string]string{v1.LabelSubnet: s.Name}},
		Spec:       v1.IPSpec{Subnet: s.Name, MTU: s.Spec.MTU},
	}
	if f.Pod.Annotations[v1.AnnotationIPAddress] == "" {
		return ip, nil
	}
	addrs, err := allocate(f, s)
	if err != nil {
		return nil, err
	}
	return ip, decide.SetAddrs(ip, s, addrs)
}

// allocate allocates the addresses that the pod asks for, or the next free ones.
// It errs with an intent.Wait or an intent.Stop.
func allocate(f Facts, s *v1.Subnet) ([]netip.Addr, error) {
	text := f.Pod.Annotations[v1.AnnotationIPAddress]
	if text == "" {
		return f.Leases.Next(s.Name, unitOf(f))
	}
	addrs, err := askedAddrs(s, text)
	if err != nil {
		return nil, decide.BadAnnotation(v1.AnnotationIPAddress, err)
	}
	return addrs, f.Leases.Claim(s.Name, unitOf(f), addrs)
}

// askedAddrs parses a list of addresses, one for each of the Subnet's prefixes,
// and returns them in the order of the prefixes. It errs if one is missing or is
// not in the Subnet.
func askedAddrs(s *v1.Subnet, text string) ([]netip.Addr, error) {
	prefixes, err := decide.PrefixesOf(&s.Spec)
	if err != nil {
		return nil, err
	}
	fields := strings.Split(text, ",")
	addrs := make([]netip.Addr, len(prefixes))
	for _, t := range fields {
		a, err := netip.ParseAddr(strings.TrimSpace(t))
		i := slices.IndexFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
		if err != nil || i < 0 {
			return nil, fmt.Errorf("%q is not an address of Subnet %s, %s", t, s.Name, s.Spec.CIDRBlock)
		}
		addrs[i] = a
	}
	if len(fields) != len(addrs) || slices.Contains(addrs, netip.Addr{}) {
		return nil, fmt.Errorf("%q: Subnet %s needs one address of each of %s", text, s.Name, s.Spec.CIDRBlock)
	}
	return addrs, nil
}

// askedMAC returns the MAC address that the pod asks for; empty if it asks for
// none. It errs with an intent.Stop if the address is invalid, and with an
// intent.Wait if another port of the Subnet has it.
func askedMAC(f Facts, s *v1.Subnet) (intent.MAC, error) {
	text := f.Pod.Annotations[v1.AnnotationMACAddress]
	if text == "" {
		return "", nil
	}
	mac, err := parseMAC(text)
	if err != nil {
		return "", decide.BadAnnotation(v1.AnnotationMACAddress, err)
	}
	for _, other := range f.SameMAC {
		if other.Spec.Subnet == s.Name && decide.IPUnit(other) != unitOf(f) {
			return "", intent.Wait{Reason: "MACTaken", For: fmt.Sprintf("MAC address %s, which %s has", mac, decide.IPUnit(other))}
		}
	}
	return mac, nil
}

// parseMAC parses a unicast MAC address. It errs for the MAC addresses that
// decide.MAC derives from IP addresses, because another port may later get that
// IP address.
func parseMAC(text string) (intent.MAC, error) {
	hw, err := net.ParseMAC(text)
	switch {
	case err != nil || len(hw) != 6:
		return "", fmt.Errorf("%q is not a MAC address such as 0a:00:00:12:34:56", text)
	case hw[0]&1 != 0 || hw.String() == "00:00:00:00:00:00":
		return "", fmt.Errorf("%s is not a unicast MAC address", text)
	case hw[0] == 2 && (hw[1] == 0 || hw[1] == 0x60):
		return "", fmt.Errorf("%s: MAC addresses that begin with 02:00 or 02:60 are derived from addresses", text)
	}
	return intent.MAC(hw.String()), nil
}
