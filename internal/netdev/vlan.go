package netdev

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/plug"
)

// ErrVLANTaken is returned while a link that we cannot see uses a VLAN.
var ErrVLANTaken = errors.New("the VLAN is in use in a network namespace that is none of our pods', or that is just ending")

// vlanLinks makes pods' VLAN links on a node's trunk interface.
type vlanLinks struct {
	node *Namespace
	pods podNamespaces
}

// add makes the link directly inside the pod's namespace, as vethPairs.add does.
// made is false if the link exists and is as it should be.
func (l vlanLinks) add(pod *Namespace, s plug.VLANLink) (made bool, err error) {
	if l.check(pod, s) == nil {
		return false, nil
	}
	trunk, err := l.node.LinkByName(s.Trunk)
	if err != nil {
		return false, fmt.Errorf("the node's interface %s: %w", s.Trunk, err)
	}
	if trunk.Attrs().Flags&net.FlagUp == 0 {
		return false, fmt.Errorf("the node's trunk interface %s is down", s.Trunk)
	}
	if err := removeOwnLink(pod, s.Link); err != nil {
		return false, err
	}
	err = l.create(pod, s, trunk)
	if errors.Is(err, unix.EEXIST) {
		if err := l.evict(trunk, s.Tag); err != nil {
			return false, err
		}
		err = l.create(pod, s, trunk)
	}
	return err == nil, err
}

// removeOwnLink removes a link of ours. It returns an error if the link is not ours.
func removeOwnLink(pod *Namespace, name string) error {
	old, err := pod.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, ours := plug.ParseAlias(old.Attrs().Alias); !ours {
		return fmt.Errorf("the pod has an interface %s already, which is not ours", name)
	}
	return pod.LinkDel(old)
}

// create makes the link. If it fails, it leaves nothing. If the node has an interface of
// the link's name, the link first gets another name, because kernels before 6.15 require
// that the name is free on the node, too.
func (l vlanLinks) create(pod *Namespace, s plug.VLANLink, trunk netlink.Link) (err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.ParentIndex, attrs.Namespace = s.Link, s.MTU, trunk.Attrs().Index, netlink.NsFd(pod.fd())
	if has(l.node, s.Link) {
		attrs.Name = "v" + s.Host[1:]
	}
	if attrs.HardwareAddr, err = net.ParseMAC(string(s.MAC)); err != nil {
		return err
	}
	// With loose binding the link stays up when the trunk goes down. Otherwise the
	// pod would lose its routes and IPv6 addresses, and nothing would restore them.
	loose := true
	vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: s.Tag, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q, LooseBinding: &loose}
	if err := l.node.LinkAdd(vlan); err != nil {
		return explainUnsupported(err)
	}
	link, err := pod.LinkByName(attrs.Name)
	if err != nil {
		return err
	}
	if err := finishVLAN(pod, s, link); err != nil {
		return errors.Join(err, pod.LinkDel(link))
	}
	return nil
}

func explainUnsupported(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("the node's kernel cannot make VLAN links, is module 8021q there? %w", err)
	}
	return err
}

func finishVLAN(pod *Namespace, s plug.VLANLink, link netlink.Link) error {
	if err := pod.LinkSetAlias(link, s.Alias); err != nil {
		return fmt.Errorf("set the alias of %s: %w", link.Attrs().Name, err)
	}
	if link.Attrs().Name != s.Link {
		if err := pod.LinkSetName(link, s.Link); err != nil {
			return fmt.Errorf("rename it to %s: %w", s.Link, err)
		}
	}
	return pod.LinkSetUp(link)
}

// evict removes another pod's link of ours that uses the VLAN. It returns an error if
// a link that is not ours uses the VLAN.
func (l vlanLinks) evict(trunk netlink.Link, tag int) error {
	own, err := vlansOf(l.node)
	if err != nil {
		return err
	}
	for _, v := range own {
		if v.ParentIndex == trunk.Attrs().Index && v.VlanId == tag {
			return fmt.Errorf("the node's own interface %s has VLAN %d of %s, which is the pod's: remove it", v.Name, tag, trunk.Attrs().Name)
		}
	}
	gone := false
	err = l.pods.each(func(pod *Namespace) (_ bool, err error) {
		gone, err = deleteVLANs(pod, func(v *netlink.Vlan, _ plug.Mark) bool { return v.VlanId == tag && l.isOnTrunk(trunk, pod, v) })
		return gone, err
	})
	if err == nil && !gone {
		err = fmt.Errorf("VLAN %d of %s: %w", tag, trunk.Attrs().Name, ErrVLANTaken)
	}
	return err
}

// isOnTrunk returns whether a pod's VLAN link is on the node's interface trunk.
func (l vlanLinks) isOnTrunk(trunk netlink.Link, pod *Namespace, v *netlink.Vlan) bool {
	node, err := pod.GetNetNsIdByFd(l.node.fd())
	return err == nil && v.NetNsID >= 0 && v.NetNsID == node && v.ParentIndex == trunk.Attrs().Index
}

// vlansOf returns the VLAN links of a namespace.
func vlansOf(n *Namespace) ([]*netlink.Vlan, error) {
	links, err := n.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var all []*netlink.Vlan
	for _, link := range links {
		if v, ok := link.(*netlink.Vlan); ok {
			all = append(all, v)
		}
	}
	return all, nil
}

// deleteVLANs deletes VLAN links of ours for which match returns true.
func deleteVLANs(pod *Namespace, match func(*netlink.Vlan, plug.Mark) bool) (found bool, err error) {
	all, err := vlansOf(pod)
	if err != nil {
		return false, err
	}
	for _, v := range all {
		mark, ours := plug.ParseAlias(v.Alias)
		if !ours || !match(v, mark) {
			continue
		}
		if err := pod.LinkDel(v); err != nil && !errors.Is(err, unix.ENODEV) {
			return found, fmt.Errorf("delete VLAN link %s: %w", v.Name, err)
		}
		found = true
	}
	return found, nil
}

// remove deletes the link. If pod is nil, remove finds the pod's namespace by the host
// link; if it finds none, the link has gone with the namespace.
func (l vlanLinks) remove(pod *Namespace, s plug.VLANLink) error {
	ours := func(_ *netlink.Vlan, mark plug.Mark) bool {
		return plug.HostLinkName(mark.Container, mark.Link) == s.Host
	}
	if pod != nil {
		_, err := deleteVLANs(pod, ours)
		return err
	}
	host, err := l.node.LinkByName(s.Host)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", s.Host, err)
	}
	_, err = l.pods.withID(host.Attrs().NetNsID, func(pod *Namespace) error {
		_, err := deleteVLANs(pod, ours)
		return err
	})
	return err
}

func (l vlanLinks) check(pod *Namespace, s plug.VLANLink) error {
	trunk, err := l.node.LinkByName(s.Trunk)
	if err != nil {
		return fmt.Errorf("on the node: %w", err)
	}
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return fmt.Errorf("in the pod: %w", err)
	}
	v, ok := link.(*netlink.Vlan)
	if !ok {
		return fmt.Errorf("%s is no VLAN link", s.Link)
	}
	switch {
	case !l.isOnTrunk(trunk, pod, v):
		return fmt.Errorf("%s is on another interface", s.Link)
	case v.VlanId != s.Tag:
		return fmt.Errorf("%s is VLAN %d", s.Link, v.VlanId)
	case v.HardwareAddr.String() != string(s.MAC):
		return fmt.Errorf("%s has the MAC address %s", s.Link, v.HardwareAddr)
	case s.MTU != 0 && v.MTU != s.MTU:
		return fmt.Errorf("%s has an MTU of %d", s.Link, v.MTU)
	case v.Flags&net.FlagUp == 0:
		return errors.New("it is down")
	}
	return nil
}
