package agent

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/app/agent/nodelock"
	"github.com/isthmus-cni/isthmus/internal/daemon"
	"github.com/isthmus-cni/isthmus/internal/kubetest"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// addOtherPlugin adds files and links of others to a node, which a cleanup must keep.
func addOtherPlugin(t *testing.T, host *ovstest.Node, dir string) {
	t.Helper()
	for _, file := range []string{"net.d/10-other.conflist", "bin/other"} {
		file = filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host.Run(t, "nft", "table inet other { chain c { type filter hook input priority 0; }; }")
	host.Run(t, "ip", "rule", "add", "priority", "99", "to", "10.255.0.0/24", "lookup", "99")
	host.Run(t, "ip", "route", "add", "10.255.0.0/24", "dev", "up0", "table", "99")
}

// traces returns what an agent may leave: on the node, in its files and on its Node.
func traces(t *testing.T, host *ovstest.Node, server *kubetest.Server, dir string) []string {
	t.Helper()
	var all []string
	add := func(what, text string) {
		for line := range strings.Lines(text) {
			all = append(all, what+": "+strings.TrimSpace(line))
		}
	}
	add("port", host.Vsctl(t, "list-ports", "br-int"))
	add("link", host.Run(t, "sh", "-c", "ls /sys/class/net; ip -br link | awk '{print $1}'"))
	for what, command := range map[string]string{
		"address": "ip -br addr | awk '{$2=\"\"; print}'", "route": "ip route show table all", "route6": "ip -6 route show table all",
		"rule": "ip rule", "nft": "nft list ruleset", "neighbour": "ip neigh show nud permanent",
	} {
		add(what, host.Run(t, "sh", "-c", command))
	}
	for _, pattern := range []string{"net.d/*", "net.d/.*", "bin/*", "bin/.*", "s", "agent.lock"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		add("file", strings.Join(files, "\n"))
	}
	k, err := client.New(server.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := &corev1.Node{}
	if err := k.Get(t.Context(), client.ObjectKey{Name: "node1"}, n); err != nil {
		t.Fatal(err)
	}
	for _, m := range []map[string]string{n.Annotations, n.Labels} {
		text, _ := json.Marshal(m) // a map of strings
		add("node", string(text))
	}
	slices.Sort(all)
	return all
}

// plugPod makes the agent plug a pod with a host link, in a Subnet whose pods are
// masqueraded, so that the node has everything that an agent makes.
func plugPod(t *testing.T, host *ovstest.Node, k client.Client, a *agent) {
	t.Helper()
	subnet := &v1.Subnet{ObjectMeta: metav1.ObjectMeta{Name: "pods"}, Spec: v1.SubnetSpec{Vpc: v1.DefaultVpc, CIDRBlock: "10.16.0.0/16", NatOutgoing: true}}
	if err := k.Create(t.Context(), subnet); err != nil {
		t.Fatal(err)
	}
	subnet.Status.V4UsingIPs = 1
	if err := k.Status().Update(t.Context(), subnet); err != nil {
		t.Fatal(err)
	}
	ip := podClaim("uid-9")
	ip.Spec.MTU, ip.Labels = 1392, map[string]string{v1.LabelNode: "node1"}
	if err := client.IgnoreNotFound(k.Delete(t.Context(), podClaim("uid-9"))); err != nil {
		t.Fatal(err)
	}
	if err := k.Create(t.Context(), ip); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, node: host, socket: a.o.Socket}
	wait := w.install("c9")
	w.mustRun(call{verb: "ADD", container: "c9", uid: "uid-9", netns: ovstest.NetNS(t)})
	wait()
	eventually(t, func() bool {
		return strings.Contains(host.Run(t, "nft", "list", "ruleset"), "10.16.0.0/16") && strings.Contains(host.Run(t, "ip", "route", "show", "table", "all"), "12.0.1.2")
	}, "the agent did not make the node's network")
}

// cleanerIn returns a cleaner of that host, with zero options.
func cleanerIn(host *ovstest.Node, nodes client.Client) cleaner {
	ns := netns.NsHandle(host.NetNS.Fd())
	return cleaner{
		nodes: nodes, log: slog.New(slog.DiscardHandler), timeout: 5 * time.Second,
		newMachine: func(ovs *netdev.Switch, namespaces string) (m *netdev.Machine, err error) {
			err = ovstest.Inside(host.NetNS, func() (err error) { m, err = netdev.NewMachine(ovs, namespaces); return err })
			return m, err
		},
		newNetwork: func(o nodenet.Options) *nodenet.Network { o.NetNS = &ns; return nodenet.New(o) },
	}
}

// testCleanup checks that a cleanup waits for the agent to stop, then removes everything
// of ours and nothing else, and that a second cleanup succeeds.
func testCleanup(t *testing.T, host *ovstest.Node, server *kubetest.Server, a *agent, stopAgent func(), before []string) {
	t.Helper()
	k, err := newKube(server.Config, "node1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	if tmp, err := os.CreateTemp(a.o.BinDir, tmpPattern); err != nil || tmp.Close() != nil {
		t.Fatal(err)
	}
	c := cleanerIn(host, k.client)
	c.o, c.owner = a.o, settings.Default().Cluster
	impatient := c
	impatient.timeout = 50 * time.Millisecond
	if err := impatient.clean(t.Context()); err == nil || !strings.Contains(err.Error(), "isthmus-agent still runs on node node1") {
		t.Errorf("while the agent runs: %v", err)
	}
	if _, err := os.Stat(filepath.Join(a.o.ConfDir, confName)); err != nil {
		t.Errorf("the cleanup began while the agent ran: %v", err)
	}
	stopAgent()
	stopped := c
	stopped.timeout, stopped.o.OVS = 50*time.Millisecond, "unix:"+filepath.Join(filepath.Dir(a.o.Socket), "db.sock")
	if err := stopped.clean(t.Context()); err == nil || !strings.Contains(err.Error(), "connect to Open vSwitch") {
		t.Errorf("while Open vSwitch is stopped: %v", err)
	}
	n := &corev1.Node{}
	if err := k.client.Get(t.Context(), client.ObjectKey{Name: "node1"}, n); err != nil || n.Annotations[v1.Plug] != v1.PlugOVS {
		t.Errorf("the annotations after that: %v, %v", n.Annotations, err)
	}
	for range 2 {
		if err := c.clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, traces(t, host, server, filepath.Dir(a.o.Socket))); d != "" {
			t.Errorf("-before the agent, +after the cleanup\n%s", d)
		}
	}
}

// A cleanup keeps another owner's port that has the name of ours.
func TestCleanupLeavesForeignPort(t *testing.T) {
	host := ovstest.Start(t)
	host.Vsctl(t, "add-br", "br-other", "--", "add-port", "br-other", nodenet.NodeLink, "--", "set", "Interface", nodenet.NodeLink, "type=internal")
	c := cleanerIn(host, nil)
	c.o, c.owner = Options{OVS: host.Endpoint}, "test"
	if err := c.removeNetwork(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if ports := strings.TrimSpace(host.Vsctl(t, "list-ports", "br-other")); ports != nodenet.NodeLink {
		t.Errorf("ports: %q", ports)
	}
	host.Vsctl(t, "set", "Interface", nodenet.NodeLink, "external_ids:"+plug.KeyOwner+"=test")
	if err := c.removeNetwork(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if ports := strings.TrimSpace(host.Vsctl(t, "list-ports", "br-other")); ports != "" {
		t.Errorf("our own stays: %q", ports)
	}
}

// No agent starts while a cleanup has the node's lock.
func TestRunNeedsLock(t *testing.T) {
	o := Options{NodeName: "node1", Socket: filepath.Join(t.TempDir(), "agent.sock")}
	unlock, err := nodelock.Exclude(nodelock.File(o.Socket))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := Run(t.Context(), o, daemon.Process{}); err == nil || !strings.Contains(err.Error(), "while node node1 is cleaned") {
		t.Errorf("got %v", err)
	}
}

// If the port for health is in use, no part of the agent starts, not even the socket.
func TestRunNeedsHealthPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := &agent{o: Options{Socket: filepath.Join(t.TempDir(), "agent.sock")}}
	a.o.Listen = l.Addr().String()
	if err := a.run(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(a.o.Socket); err == nil {
		t.Error("the socket is there")
	}
}

func TestMetricsOfAMode(t *testing.T) {
	for mode, want := range map[plug.Mode]bool{plug.OVS: true, plug.VLAN: false} {
		r := prometheus.NewRegistry()
		NewMetrics(r, mode)
		all, err := r.Gather()
		has := false
		for _, m := range all {
			has = has || m.GetName() == "isthmus_ovs_connected"
		}
		if has != want || err != nil {
			t.Errorf("%s: %v, %v", mode, has, err)
		}
	}
}

// The cleanup's pods share the node's network with agents, so their probe must not reach
// an agent.
func TestCleanupHasItsOwnPort(t *testing.T) {
	text, err := os.ReadFile("../../../deploy/uninstall/cleanup.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(string(text), `"--listen=:`)
	port, _, _ = strings.Cut(port, `"`)
	if port == "" || ":"+port == Default().Listen || !strings.Contains(string(text), "port: "+port+"\n") {
		t.Errorf("the cleanup listens on port %q", port)
	}
}
