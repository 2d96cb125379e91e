package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/agent/nodelock"
	"github.com/isthmus-cni/isthmus/internal/app/agent/plugmode"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/kubetest"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// startCluster starts a real API server with our kinds until the test ends.
func startCluster(t *testing.T) *kubetest.Server {
	t.Helper()
	var server *kubetest.Server
	var err error
	started, stop := make(chan struct{}), make(chan struct{})
	// The servers end with the thread that started them, and a thread that was in a
	// network namespace ends with its goroutine. So this thread lives until the test ends.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		server, err = kubetest.Start()
		close(started)
		<-stop
	}()
	<-started
	t.Cleanup(func() { close(stop) })
	if err != nil {
		t.Skipf("no API server: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Log(err)
		}
	})
	return server
}

func TestKube(t *testing.T) {
	server := startCluster(t)
	k, err := newKube(server.Config, "node1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	t.Run("await", func(t *testing.T) { testAwait(t, k) })
	t.Run("node", func(t *testing.T) { testAgentOnNode(t, server) })
	t.Run("virtual machine", func(t *testing.T) { testAgentOnVM(t, server) })
}

// testAgentOnVM runs the whole agent on a node without Open vSwitch. It checks that the agent
// writes its mode on the Node, installs the network configuration, writes no MTU of an
// underlay, and ends when the Node's label asks for Open vSwitch.
func testAgentOnVM(t *testing.T, server *kubetest.Server) {
	ns, dir := ovstest.NetNS(t), t.TempDir()
	nic := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, Mode: netlink.TUNTAP_MODE_TAP}
	if err := ovstest.Inside(ns, func() error { return netlink.LinkAdd(nic) }); err != nil {
		t.Fatal(err)
	}
	a := assembleAs(t, ns, server, optionsIn(dir, "node2"), plugmode.Choice{Mode: plug.VLAN, Detected: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.run(ctx) }()
	defer a.node.machine.Close()
	k, self := a.kube.client, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node2"}}
	if err := k.Create(ctx, self); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return k.Get(ctx, client.ObjectKey{Name: "node2"}, self) == nil && self.Annotations[v1.Plug] == v1.PlugVLAN
	}, "how pods are plugged was not told")
	if _, err := net.ParseMAC(self.Annotations[v1.AnnotationMACs]); err != nil {
		t.Errorf("the node's interface is not told: %v", err)
	}
	if mtu, ok := self.Annotations[v1.AnnotationUnderlayMTU]; ok {
		t.Errorf("an underlay's MTU of %s was told", mtu)
	}
	conflist := filepath.Join(dir, "net.d", confName)
	eventually(t, func() bool { _, err := os.Stat(conflist); return err == nil }, "no network configuration")
	self.Labels = map[string]string{v1.Plug: v1.PlugOVS}
	if err := k.Update(ctx, self); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, plugmode.ErrChanged) {
		t.Errorf("after the label: %v", err)
	}
}

// testAwait checks Await with a claim that does not exist at first, then is an earlier
// pod's, then is the right one.
func testAwait(t *testing.T, k *kube) {
	ctx := t.Context()
	// The context ends as soon as Await watches, however long the first request takes.
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	waits := interceptor.NewClient(k.client, interceptor.Funcs{
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
			cancel()
			return c.Watch(ctx, list, opts...)
		},
	})
	_, err := apiClaims{waits}.Await(short, "a.net2", "uid-1")
	if failure := cniError(cniwire.Add, err); failure == nil || failure.Code != cniwire.CodeTryAgainLater || !strings.Contains(failure.Details, "IP object does not exist") {
		t.Errorf("got %v", failure)
	}
	type answer struct {
		ip  *v1.IP
		err error
	}
	got := make(chan answer, 1)
	go func() {
		ip, err := apiClaims{k.client}.Await(ctx, "a.net2", "uid-1")
		got <- answer{ip, err}
	}()
	for _, uid := range []string{"earlier", "uid-1"} {
		ip := podClaim(uid)
		if err := client.IgnoreNotFound(k.client.Delete(ctx, podClaim(uid))); err != nil {
			t.Fatal(err)
		}
		if err := k.client.Create(ctx, ip); err != nil {
			t.Fatal(err)
		}
	}
	a := <-got
	if a.err != nil || a.ip.Spec.PodUID != "uid-1" {
		t.Errorf("got %v, %v", a.ip, a.err)
	}
}

// testAgentOnNode runs the whole agent with an API server. It checks that the agent installs
// the plugin, reports the underlay's MTU and makes ovn0 as its claim says, and that a
// cleanup then leaves the node and its Node object as they were before.
func testAgentOnNode(t *testing.T, server *kubetest.Server) {
	host, dir := ovstest.Start(t), t.TempDir()
	host.Run(t, "sh", "-c", "ip link set lo up; ip link add up0 mtu 1450 type bridge; ip link set up0 addrgenmode none; ip addr add 172.31.9.1/24 dev up0; ip link set up0 up")
	host.Vsctl(t, "set", "Open_vSwitch", ".", "external-ids:ovn-encap-ip=172.31.9.1")
	host.Vsctl(t, "add-port", "br-int", "foreign", "--", "set", "interface", "foreign", "type=internal")
	addOtherPlugin(t, host, dir)
	a := assembleIn(t, host, server, dir)
	k, self := a.kube.client, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1", Annotations: map[string]string{"example.com/a": "b"}}}
	if err := k.Create(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	before := traces(t, host, server, dir)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	unlock, err := nodelock.Share(nodelock.File(a.o.Socket)) // as Run does
	if err != nil {
		t.Fatal(err)
	}
	go func() { defer unlock(); done <- a.run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.node.machine.Close()
	})
	t.Cleanup(stop)
	nodeIP := &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: "node-node1", Labels: map[string]string{v1.LabelNode: "node1"}}, Spec: v1.IPSpec{
		PodUID: string(self.UID), NodeName: "node1", Subnet: "join", V4IPAddress: "100.64.0.2", V4PrefixLength: 16, V4Gateway: "100.64.0.1",
		MacAddress: "00:00:00:64:00:02", MTU: 1392, Attach: v1.Attach{OVS: &v1.AttachOVS{IfaceID: "node-node1"}},
	}}
	if err := k.Create(ctx, nodeIP); err != nil {
		t.Fatal(err)
	}
	host.Vsctl(t, "wait-until", "Interface", "ovn0", "external_ids:iface-id=node-node1", "ofport>=1")
	eventually(t, func() bool {
		return k.Get(ctx, client.ObjectKey{Name: "node1"}, self) == nil && self.Annotations[v1.AnnotationUnderlayMTU] == "1450"
	}, "the underlay's MTU was not reported")
	testRebind(t, host, k)
	conflist := filepath.Join(dir, "net.d", confName)
	eventually(t, func() bool { _, err := os.Stat(conflist); return err == nil }, "no network configuration")
	if same, err := os.ReadFile(filepath.Join(dir, "bin", pluginName)); err != nil || len(same) == 0 {
		t.Errorf("the plugin: %v", err)
	}
	testRefusalEvent(t, server, a.node)
	plugPod(t, host, k, a)
	testCleanup(t, host, server, a, stop, before)
}

func testRefusalEvent(t *testing.T, server *kubetest.Server, n *node) {
	t.Helper()
	n.recordRefusal(t.Context(), nodenet.Refusal{Pod: "default/a", Why: "two pods have 12.0.1.2"}) // not recordRefusals: the running agent uses its list
	apiClient, err := client.New(server.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		var all eventsv1.EventList
		return apiClient.List(t.Context(), &all, client.InNamespace("default")) == nil && slices.ContainsFunc(all.Items, func(e eventsv1.Event) bool {
			return e.Reason == "NoProbePath" && e.Regarding.Name == "a" && e.Note == "two pods have 12.0.1.2" && e.ReportingController == name
		})
	}, "no event says that a pod cannot be probed")
}

// testRebind checks that the agent binds a running pod to a new Neutron port when its
// claim names that port, but does not change an earlier pod's interface.
func testRebind(t *testing.T, host *ovstest.Node, k client.Client) {
	t.Helper()
	ip := podClaim("uid-1")
	ip.Name, ip.Spec.PodName, ip.Labels = "b.net2", "b", map[string]string{v1.LabelNode: "node1"}
	ip.Spec.Attach.OVS = &v1.AttachOVS{IfaceID: "port-1"}
	if err := k.Create(t.Context(), ip); err != nil {
		t.Fatal(err)
	}
	for name, uid := range map[string]string{"now": "uid-1", "earlier": "uid-0"} {
		host.Vsctl(t, "add-port", "br-int", name, "--", "set", "interface", name, "type=internal", "external_ids:isthmus-owner="+settings.Default().Cluster,
			"external_ids:isthmus-pod=net2/b", "external_ids:isthmus-pod-uid="+uid, "external_ids:iface-id=port-1", "external_ids:ovn-installed=true")
	}
	ip.Spec.Attach.OVS.IfaceID = "port-2"
	if err := k.Update(t.Context(), ip); err != nil {
		t.Fatal(err)
	}
	host.Vsctl(t, "wait-until", "Interface", "now", "external_ids:iface-id=port-2")
	for _, look := range [][]string{{"now", "ovn-installed", "true"}, {"earlier", "iface-id", "port-1"}} {
		if got := strings.Trim(host.Vsctl(t, "get", "Interface", look[0], "external_ids:"+look[1]), "\"\n"); got != look[2] {
			t.Errorf("%s of %s is %q, not %q", look[1], look[0], got, look[2])
		}
	}
	for _, name := range []string{"now", "earlier"} {
		host.Vsctl(t, "del-port", name)
	}
}

// assembleIn is assemble for a node with a switch.
func assembleIn(t *testing.T, host *ovstest.Node, server *kubetest.Server, dir string) *agent {
	t.Helper()
	o := optionsIn(dir, "node1")
	o.OVS = host.Endpoint
	return assembleAs(t, host.NetNS, server, o, plugmode.Choice{Mode: plug.OVS})
}

// optionsIn returns options with which an agent writes only below dir and has no switch.
func optionsIn(dir, node string) Options {
	o := Default()
	o.NodeName, o.OVS, o.Listen = node, "unix:"+filepath.Join(dir, "db.sock"), "127.0.0.1:0"
	o.Socket, o.Plugin = filepath.Join(dir, "s"), program
	o.BinDir, o.ConfDir = filepath.Join(dir, "bin"), filepath.Join(dir, "net.d")
	return o
}

// assembleAs is assemble for a node in network namespace ns.
func assembleAs(t *testing.T, ns *os.File, server *kubetest.Server, o Options, chosen plugmode.Choice) *agent {
	t.Helper()
	k, err := newKube(server.Config, o.NodeName)
	if err != nil {
		t.Fatal(err)
	}
	var a *agent
	err = ovstest.Inside(ns, func() (err error) {
		a, err = assemble(o, settings.Default(), k, chosen, slog.New(slog.DiscardHandler))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h := netns.NsHandle(ns.Fd())
	a.node.net = nodenet.New(nodenet.Options{Plug: a.node.plugOVN0, Unplug: a.node.unplugOVN0, NetNS: &h})
	return a
}

func eventually(t *testing.T, holds func() bool, says string) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error(says)
}

func TestProbes(t *testing.T) {
	got := probes([]netdev.Port{
		{Name: "ovn0", IDs: map[string]string{"iface-id": "node-node1"}},
		{Name: "i1", IDs: map[string]string{"isthmus-pod": "net2/a", "isthmus-host-link": "h1", "isthmus-addrs": "12.0.1.2,fd00::2"}},
	})
	want := []nodenet.Probe{{Pod: "net2/a", Addr: netip.MustParseAddr("12.0.1.2"), Link: "h1"}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestParse(t *testing.T) {
	env := map[string]string{"NODE_NAME": "node1", "ISTHMUS_LOG_LEVEL": "debug", "ISTHMUS_BRIDGE": "br-a"}
	o, err := Parse([]string{"--bridge", "br-b"}, func(k string) string { return env[k] })
	if err != nil || o.NodeName != "node1" || o.LogLevel != slog.LevelDebug || o.Bridge != "br-b" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := Parse(nil, func(string) string { return "" }); err == nil {
		t.Error("takes no node name")
	}
	if _, err := Parse([]string{"--plug", "vxlan"}, func(k string) string { return env[k] }); err == nil {
		t.Error("takes a plug that there is not")
	}
}
