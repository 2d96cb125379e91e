package nodenet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a node with one pod behind a host link, in network namespaces without names:
//
//	        out ──172.20.0.0/24── node ──isgl1 … host0── pod 10.9.0.5
//	(default route)                 └──ovn0 … join── ovn: 10.16.0.9, 10.17.0.9
//
// The namespace ovn stands for the network behind br-int.
type lab struct {
	t                   *testing.T
	node, out, pod, ovn netns.NsHandle
	net                 *Network
	plugs               int
	plugging            sync.WaitGroup
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	l := &lab{t: t, node: newNamespace(t), out: newNamespace(t), pod: newNamespace(t), ovn: newNamespace(t)}
	t.Cleanup(l.plugging.Wait)
	l.veth(l.node, "eth0", "172.20.0.1/24", l.out, "eth0", "172.20.0.2/24")
	l.ip(l.node, "route add default via 172.20.0.2")
	l.addPod(l.pod, "10.9.0.5/24", "isgl1")
	l.net = New(Options{Plug: l.plug, Unplug: l.unplug, NetNS: &l.node})
	return l
}

// addPod gives a namespace the links and routes of a pod on a Neutron router.
func (l *lab) addPod(ns netns.NsHandle, addr, link string) {
	l.t.Helper()
	l.veth(ns, "eth0", addr, ns, "lan", "")
	l.veth(l.node, link, "", ns, "host0", "")
	l.ip(ns, "route add default via 10.9.0.1")
	l.ip(ns, "route add 169.254.1.1/32 dev host0")
}

// state returns the state that the tests begin with.
func state() State {
	return State{
		Node: Interface{
			IfaceID: "node-n1", MAC: "02:00:64:40:00:02", MTU: 1400,
			Addrs:    []netip.Prefix{netip.MustParsePrefix("100.64.0.2/16")},
			Gateways: []netip.Addr{netip.MustParseAddr("100.64.0.1")},
		},
		Routes:     prefixes("10.16.0.0/16", "10.17.0.0/16"),
		Masquerade: prefixes("10.16.0.0/16"),
		Local:      prefixes("10.16.0.0/16", "10.17.0.0/16", "100.64.0.0/16"),
		Probes:     []Probe{{Pod: "net2/a", Addr: netip.MustParseAddr("10.9.0.5"), Link: "isgl1"}},
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// plug replaces OVS: it makes ovn0 a moment after the call.
func (l *lab) plug(_ context.Context, name, ifaceID, _ string) error {
	if name != NodeLink || ifaceID != "node-n1" {
		return fmt.Errorf("unexpected port %s %s", name, ifaceID)
	}
	l.plugs++
	if _, err := l.handle(l.node).LinkByName(name); err == nil {
		return nil
	}
	l.plugging.Go(func() {
		l.veth(l.node, name, "", l.ovn, "join", "100.64.0.1/16")
		l.ip(l.ovn, "addr replace 10.16.0.9/32 dev lo")
		l.ip(l.ovn, "addr replace 10.17.0.9/32 dev lo")
		l.ip(l.ovn, "route replace default via 100.64.0.2")
	})
	return nil
}

func (l *lab) unplug(context.Context, string) error {
	l.plugging.Wait()
	h := l.handle(l.node)
	dev, err := h.LinkByName(NodeLink)
	if err != nil {
		return nil //nolint:nilerr // it is gone already
	}
	return h.LinkDel(dev)
}

// apply applies s, fails the test after a refusal or an error, and waits until ovn is
// behind ovn0.
func (l *lab) apply(s State) {
	l.t.Helper()
	refusals, err := l.net.Apply(l.t.Context(), s)
	if err != nil || len(refusals) > 0 {
		l.t.Fatalf("Apply: %v, refusals %v", err, refusals)
	}
	l.eventually("route in ovn", func() error {
		_, err := l.run(l.ovn, "ip", "route", "get", "172.20.0.1")
		return err
	})
}

func (l *lab) handle(ns netns.NsHandle) *netlink.Handle {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		l.t.Error(err)
	}
	l.t.Cleanup(h.Close)
	return h
}

func (l *lab) veth(ns netns.NsHandle, name, addr string, peerNS netns.NsHandle, peer, peerAddr string) {
	err := l.handle(ns).LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer, PeerNamespace: netlink.NsFd(peerNS),
	})
	if err != nil {
		l.t.Errorf("veth %s: %v", name, err)
		return
	}
	l.configure(peerNS, peer, peerAddr)
	l.configure(ns, name, addr)
}

func (l *lab) configure(ns netns.NsHandle, name, addr string) {
	h := l.handle(ns)
	dev, err := h.LinkByName(name)
	if err == nil && addr != "" {
		err = h.AddrAdd(dev, &netlink.Addr{IPNet: netipx.PrefixIPNet(netip.MustParsePrefix(addr))})
	}
	if err == nil {
		err = h.LinkSetUp(dev)
	}
	if err != nil {
		l.t.Errorf("set up %s: %v", name, err)
	}
}

// inNamespace runs do on a new thread in that namespace and returns do's error.
func inNamespace(ns netns.NsHandle, do func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			result <- err
			return
		}
		result <- do()
	}()
	return <-result
}

// newNamespace returns a network namespace with lo up, which ends with the test.
func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	var made netns.NsHandle
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var err error
		made, err = netns.New()
		if err == nil {
			err = exec.Command("ip", "link", "set", "lo", "up").Run()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close() })
	return made
}

func (l *lab) run(ns netns.NsHandle, argv ...string) (string, error) {
	var out []byte
	err := inNamespace(ns, func() error {
		var err error
		out, err = exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
		return nil
	})
	return string(out), err
}

func (l *lab) must(ns netns.NsHandle, argv ...string) string {
	l.t.Helper()
	out, err := l.run(ns, argv...)
	if err != nil {
		l.t.Error(err)
	}
	return out
}

func (l *lab) ip(ns netns.NsHandle, args string) string {
	l.t.Helper()
	return l.must(ns, append([]string{"ip"}, strings.Fields(args)...)...)
}

func (l *lab) eventually(what string, try func() error) {
	l.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// serve listens on addr, port 80, and sends each client the client's address.
func (l *lab) serve(ns netns.NsHandle, addr string) {
	l.t.Helper()
	var listener net.Listener
	err := inNamespace(ns, func() error {
		var err error
		listener, err = net.Listen("tcp4", addr+":80")
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	l.t.Cleanup(func() { listener.Close(); <-ended })
}

// openConnection returns a connection that stays open until the test ends.
func (l *lab) openConnection(server, client netns.NsHandle, to string) net.Conn {
	l.t.Helper()
	var listener net.Listener
	err := inNamespace(server, func() (err error) {
		listener, err = net.Listen("tcp4", to)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { listener.Close() })
	var c net.Conn
	err = inNamespace(client, func() (err error) {
		c, err = net.DialTimeout("tcp4", to, 5*time.Second)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// received returns a function that says whether a packet with that source has reached the
// namespace since the call.
func (l *lab) received(ns netns.NsHandle, from string) func() bool {
	l.must(ns, "nft", "table ip seen { chain c { type filter hook prerouting priority 0; ip saddr "+from+" counter; }; }")
	return func() bool { return !strings.Contains(l.must(ns, "nft", "list", "table", "ip", "seen"), "packets 0 ") }
}

// dial connects from a namespace, with source address from if it is not empty, and
// returns the client's address as the server saw it.
func dial(ns netns.NsHandle, from, to string, patience time.Duration) (string, error) {
	var seen []byte
	err := inNamespace(ns, func() error {
		d := net.Dialer{Timeout: patience}
		if from != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		c, err := d.Dial("tcp4", to+":80")
		if err != nil {
			return err
		}
		defer c.Close()
		seen, err = io.ReadAll(c)
		return err
	})
	return string(seen), err
}

// expectSource fails the test unless a connection works and the server sees it come from
// want.
func (l *lab) expectSource(ns netns.NsHandle, from, to, want string) {
	l.t.Helper()
	if got, err := dial(ns, from, to, 5*time.Second); err != nil || got != want {
		l.t.Errorf("connection from %q to %s: seen as %q, want %q: %v", from, to, got, want, err)
	}
}

// expectTimeout fails the test unless a connection gets no answer.
func (l *lab) expectTimeout(ns netns.NsHandle, from, to string) {
	l.t.Helper()
	seen, err := dial(ns, from, to, 300*time.Millisecond)
	var timeout net.Error
	if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
		l.t.Errorf("connection from %q to %s: seen as %q, %v; want a time-out", from, to, seen, err)
	}
}
