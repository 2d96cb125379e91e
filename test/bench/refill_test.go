//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// refillRate and bareCreateRate create batches batches of batch ports, one batch per call.
const (
	batch   = 5
	batches = 6
)

// settings returns the content of the cluster's ConfigMap.
func (b *testbed) settings(t *testing.T) string {
	t.Helper()
	c, err := b.kube.CoreV1().ConfigMaps(settings.Namespace).Get(t.Context(), settings.ConfigMap, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Data[settings.Key]
}

// configure writes the settings and restarts the controller. It also works when the test has
// ended.
func (b *testbed) configure(t *testing.T, text string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	patch, err := json.Marshal(map[string]any{"data": map[string]string{settings.Key: text}})
	if err == nil {
		_, err = b.kube.CoreV1().ConfigMaps(settings.Namespace).Patch(ctx, settings.ConfigMap, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.restart(ctx, t)
}

// pool sets the limits of the port pools.
func (b *testbed) pool(t *testing.T, limits map[string]any) {
	t.Helper()
	var all map[string]any
	if err := yaml.Unmarshal([]byte(b.settings(t)), &all); err != nil {
		t.Fatal(err)
	}
	neutron, is := all["neutron"].(map[string]any)
	if !is {
		t.Fatal("this lab is not of profile neutron")
	}
	neutron["pool"] = limits
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	b.configure(t, string(text))
}

func (b *testbed) restart(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, argv := range [][]string{
		{"kubectl", "-n", settings.Namespace, "rollout", "restart", "deployment/isthmus-controller"},
		{"kubectl", "-n", settings.Namespace, "rollout", "status", "deployment/isthmus-controller", "--timeout=120s"},
	} {
		if out, err := b.Command(ctx, argv...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
}

// refillRate returns the number of ports per second with which the controller fills a node's empty
// port pool, measured from the first ready batch to the last. It first frees the pool's ports.
func (b *testbed) refillRate(t *testing.T) float64 {
	t.Helper()
	b.run(t, "kubectl", "ko", "pool", "free", "--node", b.node)
	b.create(t, fmt.Sprintf("asks-%d", time.Now().UnixNano())) // the pod makes the controller fill the pool again
	first, begin := 0, time.Time{}
	for {
		now := b.ready(t)
		switch {
		case first == 0 && now > 0:
			first, begin = now, time.Now()
		case now >= batch*batches:
			return float64(now-first) / time.Since(begin).Seconds()
		}
		time.Sleep(50 * time.Millisecond)
		if t.Context().Err() != nil {
			t.Fatal("the pool is not filled")
		}
	}
}

// bareCreateRate returns the number of ports per second that a bare loop creates in Neutron. It
// creates the same kind of ports, in calls of the same size, as the same user.
func (b *testbed) bareCreateRate(t *testing.T) float64 {
	t.Helper()
	c := b.neutron(t)
	port := b.portLike(t, c)
	var many []map[string]any
	for range batch {
		many = append(many, port)
	}
	var ids []string
	defer func() { remove(t, c, ids) }()
	var begin time.Time
	for i := range batches {
		var made struct{ Ports []struct{ ID string } }
		if _, err := c.Post(t.Context(), c.ServiceURL("ports"), map[string]any{"ports": many}, &made, nil); err != nil {
			t.Fatal(err)
		}
		for _, p := range made.Ports {
			ids = append(ids, p.ID)
		}
		if i == 0 {
			begin = time.Now()
		}
	}
	return float64(batch*(batches-1)) / time.Since(begin).Seconds()
}

func (b *testbed) neutron(t *testing.T) *gophercloud.ServiceClient {
	t.Helper()
	session, err := openstack.SignIn(t.Context(), openstack.Options{
		Cloud: "k8s", CloudsFile: b.Variable("OS_CLIENT_CONFIG_FILE"), Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := session.Network()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// portLike returns the body of a request for a port like those of the node's port pool.
func (b *testbed) portLike(t *testing.T, c *gophercloud.ServiceClient) map[string]any {
	t.Helper()
	var found struct {
		Ports []struct {
			Network string `json:"network_id"`
			IPs     []struct {
				Subnet string `json:"subnet_id"`
			} `json:"fixed_ips"`
			Groups []string `json:"security_groups"`
			Host   string   `json:"binding:host_id"`
		}
	}
	if _, err := c.Get(t.Context(), c.ServiceURL("ports")+"?name=kuryr-pool-port", &found, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range found.Ports {
		if p.Host == b.node {
			return map[string]any{
				"name": "bench", "network_id": p.Network, "fixed_ips": []map[string]string{{"subnet_id": p.IPs[0].Subnet}},
				"security_groups": p.Groups, "binding:host_id": p.Host, "device_owner": "compute:bench",
			}
		}
	}
	t.Fatalf("the pool of %s is empty", b.node)
	return nil
}

func remove(t *testing.T, c *gophercloud.ServiceClient, ids []string) {
	t.Helper()
	for _, id := range ids {
		_, err := c.Delete(context.WithoutCancel(t.Context()), c.ServiceURL("ports", id), &gophercloud.RequestOpts{OkCodes: []int{http.StatusNoContent}})
		if err != nil {
			t.Error(err)
		}
	}
}
