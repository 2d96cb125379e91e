package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/cniwire"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// program is the path of the CNI plugin's program.
var program string

func TestMain(m *testing.M) {
	// The test VM has no Go compiler.
	if program = os.Getenv("ISTHMUS_TEST_CNI"); program != "" {
		goleak.VerifyTestMain(m)
		return
	}
	dir, err := os.MkdirTemp("", "D-cni-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "isthmus-cni")
	if out, err := exec.Command("go", "build", "-o", program, "../../../cmd/isthmus-cni").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the plugin: %v: %s", err, out))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// claimStore has the claims of a test.
type claimStore struct {
	mu     sync.Mutex
	claims map[string]*v1.IP
}

func (b *claimStore) Await(ctx context.Context, name, uid string) (*v1.IP, error) {
	b.mu.Lock()
	ip := b.claims[name]
	b.mu.Unlock()
	if ip != nil && ip.Spec.PodUID == uid {
		return ip, nil
	}
	<-ctx.Done()
	return nil, fmt.Errorf("waiting for claim %s: %w", name, ctx.Err())
}

func (b *claimStore) put(ip *v1.IP) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims[ip.Name] = ip
}

func podClaim(uid string) *v1.IP {
	return &v1.IP{
		ObjectMeta: metav1.ObjectMeta{Name: "a.net2"},
		Spec: v1.IPSpec{
			PodName: "a", Namespace: "net2", PodUID: uid, Subnet: "net2", V4IPAddress: "12.0.1.2", V4PrefixLength: 24,
			V4Gateway: "12.0.1.1", MacAddress: "00:00:00:0C:00:02", MTU: 1400, HostLink: true,
			Routes: []v1.Route{{Destination: "10.96.0.0/12", Gateway: "12.0.1.9"}},
			Attach: v1.Attach{OVS: &v1.AttachOVS{IfaceID: "a.net2", IfaceIDVer: uid}},
		},
	}
}

// world is a node with an agent, without Kubernetes. node is the node's Open vSwitch; nil
// if it has none.
type world struct {
	t       *testing.T
	node    *ovstest.Node
	socket  string
	claims  *claimStore
	plugger *plugger
	ovs     *netdev.Switch
	stop    func()
}

func newClaimStore() *claimStore { return &claimStore{claims: map[string]*v1.IP{}} }

func start(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, node: ovstest.Start(t), claims: newClaimStore()}
	ovs := netdev.NewSwitch(netdev.SwitchOptions{Endpoint: w.node.Endpoint})
	var machine *netdev.Machine
	err := ovstest.Inside(w.node.NetNS, func() (err error) {
		machine, err = netdev.NewMachine(ovs, "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	attacher := switchAttacher{ovs: ovs, machine: machine, bridge: "br-int", owner: "test", underlay: func() (int, bool) { return 1500, false }}
	w.plugger, w.ovs = &plugger{claims: w.claims, machine: machine, attacher: attacher}, ovs
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = ovs.Run(ctx) }()
	if err := ovs.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-done; machine.Close() })
	w.startServer()
	return w
}

// startServer starts the agent's server until the test ends.
func (w *world) startServer() {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "D-agent-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.socket = filepath.Join(dir, "agent.sock")
	w.serve()
	w.t.Cleanup(func() { w.stop(); os.RemoveAll(dir) })
}

// serve starts the agent's server; w.stop stops it.
func (w *world) serve() {
	w.t.Helper()
	l, err := cniwire.Listen(w.socket)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &server{plugger: w.plugger, metrics: NewMetrics(prometheus.NewRegistry(), plug.OVS), log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.serve(ctx, l) }()
	w.stop = sync.OnceFunc(func() { cancel(); <-done })
}

// call is one run of the plugin.
type call struct {
	verb, container, version string
	netns                    *os.File
	uid                      string
	prev                     json.RawMessage
	keep                     []types.GCAttachment
}

// run returns the plugin's output, or the CNI error that it printed.
func (w *world) run(c call) ([]byte, *types.Error) {
	w.t.Helper()
	if c.version == "" {
		c.version = "1.1.0"
	}
	if c.uid == "" {
		c.uid = "uid-1"
	}
	conf := map[string]any{
		"cniVersion": c.version, "name": "isthmus", "type": "isthmus-cni", "socket": w.socket,
		"capabilities":  map[string]bool{"portMappings": true},
		"runtimeConfig": map[string]any{"portMappings": []any{map[string]any{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}},
	}
	if c.prev != nil {
		conf["prevResult"] = c.prev
	}
	if c.verb == "GC" {
		conf["cni.dev/valid-attachments"] = c.keep
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), program)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{
		"CNI_COMMAND=" + c.verb, "CNI_PATH=/opt/cni/bin", "CNI_CONTAINERID=" + c.container, "CNI_IFNAME=eth0",
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=net2;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=x;K8S_POD_UID=" + c.uid,
	}
	if c.netns != nil {
		cmd.Env = append(cmd.Env, fmt.Sprintf("CNI_NETNS=/proc/%d/fd/%d", os.Getpid(), c.netns.Fd()))
	}
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	var failure types.Error
	if err := json.Unmarshal(out, &failure); err != nil {
		w.t.Fatalf("%s: the plugin prints %q", c.verb, out)
	}
	return nil, &failure
}

func (w *world) mustRun(c call) []byte {
	w.t.Helper()
	out, failure := w.run(c)
	if failure != nil {
		w.t.Fatalf("%s %s: %s: %s", c.verb, c.version, failure.Msg, failure.Details)
	}
	return out
}

// install does what ovn-controller does for a sandbox. wait waits until that is done.
func (w *world) install(container string) (wait func()) {
	done := make(chan struct{})
	go func() { defer close(done); w.node.Install(w.t, plug.HostName(container, "eth0")) }()
	return func() { <-done }
}

func (w *world) ourDevices() string {
	w.t.Helper()
	links, err := w.plugger.machine.Links()
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, l := range links {
		all = append(all, l.Name)
	}
	if w.node != nil {
		all = append(all, w.node.Vsctl(w.t, "list-ports", "br-int"))
	}
	return strings.TrimSpace(strings.Join(all, " "))
}

func TestEverySpecVersion(t *testing.T) {
	w := start(t)
	w.claims.put(podClaim("uid-1"))
	for _, v := range version.All.SupportedVersions() {
		t.Run(v, func(t *testing.T) {
			w.t = t
			netns, id := ovstest.NetNS(t), "c-"+v
			wait := w.install(id)
			first := w.mustRun(call{verb: "ADD", container: id, version: v, netns: netns})
			wait()
			if again := w.mustRun(call{verb: "ADD", container: id, version: v, netns: netns}); !bytes.Equal(first, again) {
				t.Errorf("ADD again: %s, not %s", again, first)
			}
			result, err := create.Create(v, first)
			if err != nil {
				t.Fatal(err)
			}
			if result.Version() != v || !strings.Contains(string(first), "12.0.1.2/24") {
				t.Errorf("result %s", first)
			}
			if ok, _ := version.GreaterThanOrEqualTo(v, "0.4.0"); ok {
				w.mustRun(call{verb: "CHECK", container: id, version: v, netns: netns, prev: first})
			}
			w.mustRun(call{verb: "DEL", container: id, version: v, netns: netns, prev: first})
			w.mustRun(call{verb: "DEL", container: id, version: v})
			if left := w.ourDevices(); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

func TestCheckFindsTampering(t *testing.T) {
	w, netns := start(t), ovstest.NetNS(t)
	w.claims.put(podClaim("uid-1"))
	wait := w.install("c1")
	first := w.mustRun(call{verb: "ADD", container: "c1", netns: netns})
	wait()
	if _, failure := w.run(call{verb: "CHECK", container: "c1", netns: netns}); failure == nil || failure.Code != types.ErrInvalidNetworkConfig {
		t.Errorf("without prevResult: %v", failure)
	}
	ovstest.Run(t, netns, "ip", "route", "del", "default")
	if _, failure := w.run(call{verb: "CHECK", container: "c1", netns: netns, prev: first}); failure == nil || !strings.Contains(failure.Details, "route 0.0.0.0/0") {
		t.Errorf("without a route: %v", failure)
	}
	other := bytes.Replace(first, []byte("12.0.1.2/24"), []byte("12.0.1.3/24"), 1)
	if _, failure := w.run(call{verb: "CHECK", container: "c1", netns: netns, prev: other}); failure == nil || !strings.Contains(failure.Details, "12.0.1.3/24") {
		t.Errorf("with another address: %v", failure)
	}
}

func TestAgentDown(t *testing.T) {
	w, netns := start(t), ovstest.NetNS(t)
	w.stop()
	for verb, code := range map[string]uint{
		"ADD": types.ErrTryAgainLater, "DEL": types.ErrTryAgainLater, "CHECK": types.ErrTryAgainLater,
		"GC": types.ErrTryAgainLater, "STATUS": types.ErrPluginNotAvailable,
	} {
		_, failure := w.run(call{verb: verb, container: "c1", netns: netns, prev: json.RawMessage(`{"cniVersion":"1.1.0"}`)})
		if failure == nil || failure.Code != code {
			t.Errorf("%s: %v, want code %d", verb, failure, code)
		}
	}
	// A new agent finds the socket of the old one.
	w.serve()
	w.mustRun(call{verb: "STATUS"})
	w.mustRun(call{verb: "DEL", container: "unknown"})
}

func TestStatusWithoutOVS(t *testing.T) {
	w := start(t)
	w.mustRun(call{verb: "STATUS"})
	w.node.StopDatabase(t)
	for w.ovs.Connected() {
		time.Sleep(time.Millisecond)
	}
	if _, failure := w.run(call{verb: "STATUS"}); failure == nil || failure.Code != types.ErrPluginNotAvailable {
		t.Errorf("STATUS: %v", failure)
	}
	if _, failure := w.run(call{verb: "DEL", container: "c1"}); failure == nil || failure.Code != types.ErrTryAgainLater {
		t.Errorf("DEL: %v", failure)
	}
}

// The agent does not use the claim of an earlier pod of the same name.
func TestWaitsForItsOwnClaim(t *testing.T) {
	w, netns := start(t), ovstest.NetNS(t)
	w.claims.put(podClaim("earlier"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := cniwire.Request{Verb: cniwire.Add, Attachment: cniwire.Attachment{Container: "c1", Link: "eth0"}, Namespace: "net2", Pod: "a", UID: "uid-1"}
	_, err := w.plugger.handle(ctx, r, netns)
	if failure := cniError(r.Verb, err); failure == nil || failure.Code != cniwire.CodeTryAgainLater || !strings.Contains(failure.Details, "waiting for claim a.net2") {
		t.Errorf("got %v", failure)
	}
}

// If the runtime ends an ADD before OVN has installed the port, the agent removes
// everything that the ADD made.
func TestAbandonedAddLeavesNothing(t *testing.T) {
	w, netns := start(t), ovstest.NetNS(t)
	w.claims.put(podClaim("uid-1"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		r := cniwire.Request{Verb: cniwire.Add, Attachment: cniwire.Attachment{Container: "c1", Link: "eth0"}, Namespace: "net2", Pod: "a", UID: "uid-1"}
		_, err := cniwire.Call(ctx, w.socket, r, netns)
		done <- err
	}()
	w.node.Vsctl(t, "wait-until", "Interface", plug.HostName("c1", "eth0"), "ofport>=1")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.stop() // returns when the request is done
	if left := w.ourDevices(); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestGCKeepsRunningPods(t *testing.T) {
	w := start(t)
	w.claims.put(podClaim("uid-1"))
	wait := w.install("dead")
	w.mustRun(call{verb: "ADD", container: "dead", netns: ovstest.NetNS(t)})
	wait()
	live := podClaim("uid-2")
	live.Spec.Attach.OVS.IfaceID, live.Spec.V4IPAddress = "b.net2", "12.0.1.3"
	w.claims.put(live)
	wait = w.install("live")
	w.mustRun(call{verb: "ADD", container: "live", uid: "uid-2", netns: ovstest.NetNS(t)})
	wait()
	w.node.Vsctl(t, "add-port", "br-int", "foreign", "--", "set", "Interface", "foreign", "type=internal")
	w.mustRun(call{verb: "GC", keep: []types.GCAttachment{{ContainerID: "live", IfName: "eth0"}}})
	ports := w.node.Vsctl(t, "list-ports", "br-int")
	if ports != "foreign\n"+plug.HostName("live", "eth0") {
		t.Errorf("ports: %s", ports)
	}
	links, err := w.plugger.machine.Links()
	if err != nil || len(links) != 2 {
		t.Errorf("links: %v %v", links, err)
	}
}

func TestRefusesTooLargeMTU(t *testing.T) {
	w := start(t)
	big := podClaim("uid-1")
	big.Spec.MTU = 1500
	w.claims.put(big)
	_, failure := w.run(call{verb: "ADD", container: "c1", netns: ovstest.NetNS(t)})
	if failure == nil || !strings.Contains(failure.Details, "set the Subnet's spec.mtu to 1442") {
		t.Errorf("got %v", failure)
	}
}
