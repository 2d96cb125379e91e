package ko

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/octavia"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
	"github.com/isthmus-cni/isthmus/internal/retry"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// openstack is a fake cloud with a router.
type openstack struct {
	*neutrontest.Cloud
	octavia      *octaviatest.Cloud
	file, router string
}

func newOpenstack(t *testing.T) *openstack {
	t.Helper()
	s := &openstack{Cloud: neutrontest.New(t), octavia: octaviatest.New(t)}
	s.octavia.Slow(0)
	file, err := octaviatest.Front(t, s.Cloud, s.octavia)
	if err != nil {
		t.Fatal(err)
	}
	s.file, s.router = file, s.Add("routers", map[string]any{"name": "router1"})
	return s
}

// snapshot returns all objects of the cloud.
func (s *openstack) snapshot() []string { return append(s.Snapshot(), s.octavia.Snapshot()...) }

// createObjects creates the objects of a small cluster.
func (s *openstack) createObjects(t *testing.T, owner string) {
	t.Helper()
	network := neutron.New(t.Context(), neutron.Options{Owner: owner, Cloud: neutrontest.Name, CloudsFile: s.file})
	defer network.Close()
	segment := intent.Network{Name: "pods", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, Gateways: []netip.Addr{netip.MustParseAddr("10.1.0.1")}}
	port := func(name string) intent.Want {
		return intent.Want{Ports: []intent.Port{{Name: name, Network: "pods", Node: "node1", Groups: []string{"k8s-pods"}}}}
	}
	wants := []struct {
		unit intent.Unit
		want intent.Want
	}{
		{unit: intent.Unit("cluster/" + owner), want: intent.Want{Groups: []intent.Group{{Name: "k8s-pods", Rules: []intent.Rule{{Direction: intent.Ingress}}}}}},
		{unit: "subnet/pods", want: intent.Want{Networks: []intent.Network{segment}, RouterInterfaces: []intent.RouterInterface{{Network: "pods", Router: "neutron-" + s.router, Foreign: true}}}},
		{unit: "pod/ns/a", want: port("ns/a")},
		{unit: "pool/node1", want: port("kuryr-pool-port")},
	}
	for _, w := range wants {
		if _, err := network.Apply(t.Context(), w.unit, w.want); err != nil {
			t.Fatal(err)
		}
	}
	balancers := octavia.New(octavia.Options{
		Owner: owner, Cloud: neutrontest.Name, CloudsFile: s.file, ApplyTimeout: time.Minute,
		Subnet: func(string, netip.Addr) (string, error) { return "subnet-of-" + owner, nil },
	})
	_, err := balancers.Apply(t.Context(), "service/ns/web", intent.Want{LoadBalancers: []intent.LoadBalancer{{
		Name: "ns/web", VIP: netip.MustParseAddr("10.96.0.9"), Network: "services", FloatingIP: &intent.FloatingIP{Network: octaviatest.External},
		Listeners: []intent.Listener{{Protocol: "TCP", Port: 80, Members: []intent.Member{{Name: "ns/a", Addr: netip.MustParseAddr("10.1.0.9"), Port: 80, Network: "pods"}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

// clean runs the command as a user with a clouds.yaml and without a cluster.
func (s *openstack) clean(ctx context.Context, more ...string) (string, error) {
	b := newTestTool()
	b.connect = func() (kubernetes.Interface, error) { return nil, errors.New("no kubeconfig") }
	b.pauses = retry.Backoff{First: time.Millisecond, Longest: time.Millisecond}
	args := append([]string{"neutron", "cleanup", "--cluster", "one", "--clouds-file", s.file, "--cloud", neutrontest.Name}, more...)
	err := b.execute(ctx, args)
	return b.out.String(), err
}

// With two clusters in one project, the cleanup of one leaves the other's objects
// unchanged.
func TestCleanupOfOneOfTwoClusters(t *testing.T) {
	t.Parallel()
	s := newOpenstack(t)
	s.createObjects(t, "two")
	before := s.snapshot()
	s.createObjects(t, "one")
	said, err := s.clean(t.Context(), "--yes")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, s.snapshot()); diff != "" {
		t.Error(diff)
	}
	at := 0
	for _, part := range []string{
		"Cluster one owns in OpenStack:", "  load balancer ns/web (", "deleted floating IP 172.24.4.", "deleted load balancer ns/web (", "deleted port ns/a (", "deleted port kuryr-pool-port (",
		"deleted security group k8s-pods (", "deleted router interface ", "deleted subnet pods-IPv4 (", "deleted network pods (", "belongs to cluster one any more",
	} {
		i := strings.Index(said[at:], part)
		if i < 0 {
			t.Errorf("%q is not said, or too early, in:\n%s", part, said)
			continue
		}
		at += i
	}
	if said, err := s.clean(t.Context(), "--yes"); err != nil || !strings.Contains(said, "Nothing in OpenStack belongs to cluster one.") {
		t.Errorf("again: %v, %s", err, said)
	}
}

func TestCleanupAsksAndLists(t *testing.T) {
	t.Parallel()
	s := newOpenstack(t)
	s.createObjects(t, "one")
	before := s.snapshot()
	said, err := s.clean(t.Context(), "--dry-run")
	if err != nil || strings.Contains(said, "deleted") {
		t.Errorf("%v\n%s", err, said)
	}
	for _, part := range []string{"floating IP ", "load balancer ns/web", "port ns/a (", "port kuryr-pool-port (", "router interface ", "subnet pods-IPv4 (", "network pods (", "security group k8s-pods ("} {
		if !strings.Contains(said, part) {
			t.Errorf("%q is not listed:\n%s", part, said)
		}
	}
	if _, err := s.clean(t.Context()); err == nil || err.Error() != "nothing was deleted" {
		t.Errorf("without an answer: %v", err)
	}
	if diff := cmp.Diff(before, s.snapshot()); diff != "" {
		t.Error(diff)
	}
}

// A network of ours with foreign ports stays, and is named.
func TestCleanupKeepsForeignObjects(t *testing.T) {
	t.Parallel()
	for collection, foreign := range map[string]map[string]any{
		"ports":   {"name": "machine", "device_owner": "compute:nova"},
		"subnets": {"name": "machines", "cidr": "192.168.7.0/24", "ip_version": 4},
	} {
		s := newOpenstack(t)
		s.createObjects(t, "one")
		foreign["network_id"] = s.id(t, "networks", "pods")
		id := s.Add(collection, foreign)
		if said, err := s.clean(t.Context(), "--yes"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("network pods: %s", foreign["name"])) {
			t.Errorf("%v\n%s", err, said)
		}
		for _, left := range []struct{ collection, want string }{{"networks", "pods"}, {"routers", "router1"}, {collection, foreign["name"].(string)}} {
			if names := s.Names(left.collection); !slices.Contains(names, left.want) {
				t.Errorf("of %s there are left %v", left.collection, names)
			}
		}
		if names := s.Names("ports"); slices.Contains(names, "ns/a") {
			t.Errorf("of ports there are left %v", names)
		}
		s.Remove(collection, id)
		if said, err := s.clean(t.Context(), "--yes"); err != nil || len(s.Names("networks")) > 0 {
			t.Errorf("again: %v\n%s", err, said)
		}
	}
}

// id returns the id of an object by its name.
func (s *openstack) id(t *testing.T, collection, name string) string {
	t.Helper()
	for _, line := range s.Snapshot() {
		if kind, text, _ := strings.Cut(line, " "); kind == collection && strings.Contains(text, fmt.Sprintf(`"name":%q`, name)) {
			_, rest, _ := strings.Cut(text, `"id":"`)
			id, _, _ := strings.Cut(rest, `"`)
			return id
		}
	}
	t.Fatalf("there is none of %s that is called %s", collection, name)
	return ""
}

// The cleanup also works in a cloud without Octavia.
func TestCleanupWithoutOctavia(t *testing.T) {
	t.Parallel()
	s := newOpenstack(t)
	s.file = s.CloudsFile
	network := neutron.New(t.Context(), neutron.Options{Owner: "one", Cloud: neutrontest.Name, CloudsFile: s.file})
	defer network.Close()
	before := s.snapshot()
	if _, err := network.Apply(t.Context(), "policy/a", intent.Want{Groups: []intent.Group{{Name: "a"}}}); err != nil {
		t.Fatal(err)
	}
	if said, err := s.clean(t.Context(), "--yes"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if diff := cmp.Diff(before, s.snapshot()); diff != "" {
		t.Error(diff)
	}
}

// For each n, the cleanup is killed at its n-th call, executed or not. A second run
// leaves nothing. If the call only returns an error, no second run is needed.
func TestCleanupAfterFailures(t *testing.T) {
	t.Parallel()
	for _, how := range []struct {
		name           string
		octavia, after bool
		code           int
	}{
		{name: "neutron killed"},
		{name: "neutron killed after", after: true},
		{name: "neutron fails", code: http.StatusServiceUnavailable},
		{name: "octavia killed", octavia: true},
		{name: "octavia killed after", octavia: true, after: true},
		{name: "octavia fails", octavia: true, code: http.StatusServiceUnavailable},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			for n, more := 1, true; more; n++ {
				more = failAt(t, n, how.octavia, how.after, how.code)
			}
		})
	}
}

// failAt makes the n-th call fail. It returns false if there is no such call.
func failAt(t *testing.T, n int, inOctavia, after bool, code int) bool {
	t.Helper()
	s := newOpenstack(t)
	before := s.snapshot()
	s.createObjects(t, "one")
	ctx, die := context.WithCancel(t.Context())
	defer die()
	fail := func() {
		if code == 0 {
			die()
		}
	}
	s.Fail(func(call int, _ *http.Request) *neutrontest.Fault {
		if inOctavia || call != n {
			return nil
		}
		fail()
		return &neutrontest.Fault{After: after, Code: code}
	})
	s.octavia.Fail(func(call int, _, _ string) octaviatest.Fault {
		if !inOctavia || call != n {
			return octaviatest.Fault{}
		}
		return octaviatest.Fault{After: after, Code: code, Then: fail}
	})
	_, err := s.clean(ctx, "--yes")
	happened := len(s.Calls()) >= n
	if inOctavia {
		happened = len(s.octavia.Calls()) >= n
	}
	s.Fail(nil)
	s.octavia.Fail(nil)
	if err != nil {
		if said, err := s.clean(t.Context(), "--yes"); err != nil {
			t.Fatalf("call %d, again: %v\n%s", n, err, said)
		}
	}
	if diff := cmp.Diff(before, s.snapshot()); diff != "" {
		t.Fatalf("call %d: %s", n, diff)
	}
	return happened
}

// attempts is a fabric that deletes something in each attempt, and needs three.
type attempts []time.Time

func (*attempts) Owned(context.Context) ([]string, error) { return nil, nil }

func (a *attempts) Clear(context.Context) (int, error) {
	if *a = append(*a, time.Now()); len(*a) < 3 {
		return 1, errors.New("something is left")
	}
	return 1, nil
}

// The cleanup also pauses after an attempt that deleted something, because OpenStack
// needs time to release the rest.
func TestCleanupPausesAfterProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a attempts
		if err := (cloudCleanup{tool: newTestTool().tool}).clear(t.Context(), &a); err != nil {
			t.Fatal(err)
		}
		for i := range a[1:] {
			if pause := a[i+1].Sub(a[i]); pause != time.Second {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
	})
}

// lease returns a lease that a controller renewed some time ago.
func lease(ago time.Duration) *coordinationv1.Lease {
	holder, seconds, at := "node1_x", int32(15), metav1.NewMicroTime(time.Now().Add(-ago))
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: controllers},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &at},
	}
}

func TestCloudCleanupNeedsTheControllerGone(t *testing.T) {
	t.Parallel()
	deployed := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: controllers}, Status: appsv1.DeploymentStatus{Replicas: 1}}
	for name, c := range map[string]struct {
		cluster string
		objects []runtime.Object
		forced  bool
		refused string
	}{
		"leads":             {"test", []runtime.Object{lease(0)}, false, "node1_x still holds Lease"},
		"leads, all gone":   {"", []runtime.Object{lease(0)}, false, "node1_x still holds Lease"},
		"deployed":          {"test", []runtime.Object{deployed}, false, "would put everything back"},
		"died":              {"test", []runtime.Object{lease(time.Hour)}, false, ""},
		"another cluster's": {"other", []runtime.Object{lease(0), deployed}, false, ""},
		"forced":            {"test", []runtime.Object{lease(0), deployed}, true, ""},
		"nothing":           {"", nil, false, ""},
	} {
		if c.cluster != "" {
			c.objects = append(c.objects, configMap(strings.Replace(configured, "cluster: test", "cluster: "+c.cluster, 1)))
		}
		s := newOpenstack(t)
		b := newTestTool(c.objects...)
		args := []string{"neutron", "cleanup", "--cluster", "test", "--yes", "--clouds-file", s.file, "--cloud", neutrontest.Name}
		if c.forced {
			args = append(args, "--force")
		}
		err := b.execute(t.Context(), args)
		if refused := err != nil; refused != (c.refused != "") || refused && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The user's OpenStack credentials come from the flags, the environment or the cluster.
func TestCleanupFindsTheCloud(t *testing.T) {
	t.Parallel()
	s := newOpenstack(t)
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: cloudsSecret}, Data: map[string][]byte{cloudsKey: text}}
	inCluster := []runtime.Object{configMap(configured + "neutron: {cloud: " + neutrontest.Name + "}"), secret}
	for name, c := range map[string]struct {
		env     map[string]string
		args    []string
		objects []runtime.Object
		fails   string
	}{
		"said":          {args: []string{"--cloud", neutrontest.Name, "--clouds-file", s.file}},
		"environment":   {env: map[string]string{"OS_CLOUD": neutrontest.Name, "OS_CLIENT_CONFIG_FILE": s.file}},
		"cluster":       {objects: inCluster},
		"no name":       {args: []string{"--clouds-file", s.file}, fails: "which cloud of " + s.file},
		"no Secret":     {objects: inCluster[:1], fails: "isthmus-openstack"},
		"no such cloud": {args: []string{"--cloud", "nosuch", "--clouds-file", s.file}, fails: "nosuch"},
	} {
		b := newTestTool(c.objects...)
		b.getenv = func(name string) string { return c.env[name] }
		err := b.execute(t.Context(), append([]string{"neutron", "cleanup", "--cluster", "test", "--dry-run"}, c.args...))
		if failed := err != nil; failed != (c.fails != "") || failed && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
