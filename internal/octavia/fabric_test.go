package octavia

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"))
}

const unit = intent.Unit("service/default/web")

func start(c *octaviatest.Cloud, owner string) *Fabric {
	return New(Options{
		Owner: owner, Cloud: "test", CloudsFile: c.CloudsFile, ApplyTimeout: 20 * time.Second,
		Subnet: func(segment string, _ netip.Addr) (string, error) { return "subnet-" + segment, nil },
	})
}

func members(port int, addrs ...string) []intent.Member {
	var out []intent.Member
	for _, a := range addrs {
		out = append(out, intent.Member{Name: "default/pod" + a[strings.LastIndex(a, ".")+1:], Addr: netip.MustParseAddr(a), Port: port, Network: "pods"})
	}
	return out
}

func web(ls ...intent.Listener) intent.Want {
	return intent.Want{LoadBalancers: []intent.LoadBalancer{{
		Name: "default/web", VIP: netip.MustParseAddr("10.60.0.20"), Network: "services", Listeners: ls,
	}}}
}

func tcp(port int, ms []intent.Member) intent.Listener {
	return intent.Listener{Protocol: "TCP", Port: port, Members: ms}
}

func floating(w intent.Want, addr string) intent.Want {
	f := &intent.FloatingIP{Network: octaviatest.External}
	if addr != "" {
		f.Addr = netip.MustParseAddr(addr)
	}
	w.LoadBalancers[0].FloatingIP = f
	return w
}

// applyPauses are the pauses between two attempts while Octavia is busy.
var applyPauses = retry.Backoff{First: 10 * time.Millisecond, Longest: 500 * time.Millisecond}

// apply applies w until Octavia has finished.
func apply(t *testing.T, f *Fabric, u intent.Unit, w intent.Want) intent.Observed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var observed intent.Observed
	var failed error
	if err := applyPauses.Until(ctx, func(ctx context.Context) error {
		observed, failed = f.Apply(ctx, u, w)
		if _, is := errors.AsType[intent.Wait](failed); is {
			return failed
		}
		return nil
	}, nil); err != nil || failed != nil {
		t.Fatalf("%s is not done: %v, %v", u, err, failed)
	}
	return observed
}

// tree describes all resources.
func tree(c *octaviatest.Cloud) map[string][]string {
	out := map[string][]string{}
	for _, k := range []string{"loadbalancers", "listeners", "pools", "members", "ports", "floatingips"} {
		if names := c.Names(k); len(names) > 0 {
			out[k] = names
		}
	}
	return out
}

func same(t *testing.T, c *octaviatest.Cloud, want map[string][]string) {
	t.Helper()
	if diff := cmp.Diff(want, tree(c)); diff != "" {
		t.Error(diff)
	}
}

func webTree(listeners []string, members ...string) map[string][]string {
	out := map[string][]string{"loadbalancers": {"default/web"}, "ports": {"10.60.0.20"}}
	if len(listeners) > 0 {
		out["listeners"], out["pools"] = listeners, listeners
	}
	if len(members) > 0 {
		out["members"] = members
	}
	return out
}

func TestOneCallCreatesAll(t *testing.T) {
	c := octaviatest.New(t)
	f := start(c, "k")
	observed := apply(t, f, unit, web(tcp(80, members(8080, "10.50.0.11", "10.50.0.12")), intent.Listener{Protocol: "UDP", Port: 53, Members: members(53, "10.50.0.11")}))
	same(t, c, webTree([]string{"default/web:TCP:80", "default/web:UDP:53"}, "default/pod11:53", "default/pod11:8080", "default/pod12:8080"))
	changes := slices.DeleteFunc(c.Calls(), func(call string) bool { return strings.HasPrefix(call, "GET ") })
	if diff := cmp.Diff([]string{"POST /lb/v2.0/lbaas/loadbalancers"}, changes); diff != "" {
		t.Error(diff)
	}
	b := observed.LoadBalancers["default/web"]
	if observed.Changed != 1 || b.ID == "" || b.Port == "" || b.Provider != "ovn" || len(b.Listeners) != 2 || len(b.Listeners[0].Members) != 2 || b.Listeners[0].Pool == "" {
		t.Errorf("seen %+v", observed)
	}
	if again := apply(t, f, unit, web(tcp(80, members(8080, "10.50.0.12", "10.50.0.11")), intent.Listener{Protocol: "UDP", Port: 53, Members: members(53, "10.50.0.11")})); again.Changed != 0 {
		t.Errorf("the second time changed %d", again.Changed)
	}
}

func TestChanges(t *testing.T) {
	c := octaviatest.New(t)
	c.Slow(0)
	f := start(c, "k")
	http, more := members(8080, "10.50.0.11"), members(8080, "10.50.0.12", "10.50.0.13")
	for _, s := range []struct {
		name string
		want intent.Want
		tree map[string][]string
	}{
		{"nothing behind it", web(tcp(80, nil)), webTree([]string{"default/web:TCP:80"})},
		{"a member", web(tcp(80, http)), webTree([]string{"default/web:TCP:80"}, "default/pod11:8080")},
		{"other members", web(tcp(80, more)), webTree([]string{"default/web:TCP:80"}, "default/pod12:8080", "default/pod13:8080")},
		{"another port", web(tcp(80, more), tcp(443, http)), webTree([]string{"default/web:TCP:443", "default/web:TCP:80"}, "default/pod11:8080", "default/pod12:8080", "default/pod13:8080")},
		{"one port less", web(tcp(443, http)), webTree([]string{"default/web:TCP:443"}, "default/pod11:8080")},
		{"many", web(tcp(443, members(8080, "10.50.0.1", "10.50.0.2", "10.50.0.3"))), webTree([]string{"default/web:TCP:443"}, "default/pod1:8080", "default/pod2:8080", "default/pod3:8080")},
		{"one of many goes", web(tcp(443, members(8080, "10.50.0.1", "10.50.0.3"))), webTree([]string{"default/web:TCP:443"}, "default/pod1:8080", "default/pod3:8080")},
		{"one is exchanged", web(tcp(443, members(8080, "10.50.0.3", "10.50.0.4"))), webTree([]string{"default/web:TCP:443"}, "default/pod3:8080", "default/pod4:8080")},
		{"no ports", web(), webTree(nil)},
		{"gone", intent.Want{}, map[string][]string{}},
	} {
		apply(t, f, unit, s.want)
		if diff := cmp.Diff(s.tree, tree(c)); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
	}
}

// A load balancer is created in the requested project, and stays there.
func TestProject(t *testing.T) {
	c := octaviatest.New(t)
	f := start(c, "k")
	w := web(tcp(80, members(8080, "10.60.0.2")))
	w.LoadBalancers[0].Project = "P"
	made := apply(t, f, "service/default/web", w).LoadBalancers["default/web"]
	w.LoadBalancers[0].Project = "Q"
	kept := apply(t, f, "service/default/web", w)
	if b := kept.LoadBalancers["default/web"]; kept.Changed != 0 || made.Project != "P" || b.Project != "P" || b.ID != made.ID {
		t.Errorf("%+v was made, %+v is there after %d changes", made, b, kept.Changed)
	}
}

func TestMembersWithSameName(t *testing.T) {
	c := octaviatest.New(t)
	f := start(c, "k")
	apply(t, f, unit, web(tcp(80, members(8080, "10.50.0.11"))))
	apply(t, f, unit, web(tcp(80, members(8080, "10.51.0.11"))))
	same(t, c, webTree([]string{"default/web:TCP:80"}, "default/pod11:8080"))
}

func TestUnsupportedCreatesNothing(t *testing.T) {
	c := octaviatest.New(t)
	f := start(c, "k")
	for name, l := range map[string]intent.Listener{
		"sessionAffinity":          {Protocol: "TCP", Port: 80, Affinity: true},
		"timeouts":                 {Protocol: "TCP", Port: 80, ClientTimeout: time.Minute},
		"loadBalancerSourceRanges": {Protocol: "TCP", Port: 80, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"protocol DCCP":            {Protocol: "DCCP", Port: 80},
	} {
		_, err := f.Apply(t.Context(), unit, web(l))
		var stop intent.Stop
		if !errors.As(err, &stop) || stop.Reason != "Unsupported" || !strings.Contains(stop.Why, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, c, map[string][]string{})
}

func TestFailedIsCreatedAgain(t *testing.T) {
	c := octaviatest.New(t)
	c.Slow(0)
	c.Break(2)
	f := start(c, "k")
	want := web(tcp(80, members(8080, "10.50.0.11")))
	_, err := f.Apply(t.Context(), unit, want)
	var wait intent.Wait
	if !errors.As(err, &wait) || wait.Reason != "BalancerError" || wait.After < time.Second {
		t.Fatalf("it says %v", err)
	}
	f.units[unit].nextRecreation = time.Time{}
	apply(t, f, unit, want)
	same(t, c, webTree([]string{"default/web:TCP:80"}, "default/pod11:8080"))
}

// A load balancer with status ERROR can only be deleted: no wait ends that status.
func TestErrorDuringChange(t *testing.T) {
	c := octaviatest.New(t)
	f := start(c, "k")
	apply(t, f, unit, web(tcp(80, nil)))
	c.Break(1)
	apply(t, f, unit, web(tcp(81, members(8080, "10.50.0.11")), tcp(82, nil)))
	same(t, c, webTree([]string{"default/web:TCP:81", "default/web:TCP:82"}, "default/pod11:8080"))
}

func TestWaitsWhileBusy(t *testing.T) {
	c := octaviatest.New(t)
	f := start(c, "k")
	apply(t, f, unit, web(tcp(80, nil)))
	c.Slow(3)
	apply(t, f, unit, web(tcp(81, members(8080, "10.50.0.11")), tcp(82, nil)))
	apply(t, f, unit, intent.Want{})
	same(t, c, map[string][]string{})
}

func TestApplyTimeout(t *testing.T) {
	c := octaviatest.New(t)
	c.Slow(1000)
	f := start(c, "k")
	f.ApplyTimeout = 100 * time.Millisecond
	_, err := f.Apply(t.Context(), unit, web(tcp(80, nil)))
	var wait intent.Wait
	if !errors.As(err, &wait) || wait.After == 0 {
		t.Fatalf("it says %v", err)
	}
	c.Slow(0)
	c.Edit("loadbalancers", "default/web", func(lb map[string]any) { lb["provisioning_status"] = "ACTIVE" })
	c.Edit("listeners", "default/web:TCP:80", func(l map[string]any) { l["provisioning_status"] = "ACTIVE" })
	c.Edit("pools", "default/web:TCP:80", func(p map[string]any) { p["provisioning_status"] = "ACTIVE" })
	f.ApplyTimeout = 20 * time.Second
	apply(t, f, unit, web(tcp(80, nil)))
	same(t, c, webTree([]string{"default/web:TCP:80"}))
}

func TestQuota(t *testing.T) {
	c := octaviatest.New(t)
	c.Quota(1)
	f := start(c, "k")
	apply(t, f, unit, web(tcp(80, nil)))
	other := web(tcp(80, nil))
	other.LoadBalancers[0].VIP = netip.MustParseAddr("10.60.0.21")
	_, err := f.Apply(t.Context(), "service/default/other", other)
	var wait intent.Wait
	if !errors.As(err, &wait) || wait.Reason != "QuotaExceeded" || !strings.Contains(wait.For, "Quota has been met") {
		t.Fatalf("it says %v", err)
	}
}

// A load balancer with our address and name and without an owner tag was Kuryr's, and
// becomes ours. Another cluster's never does.
func TestAddressTaken(t *testing.T) {
	c := octaviatest.New(t)
	kuryr := start(c, "k")
	apply(t, kuryr, unit, web(tcp(80, nil)))
	f := start(c, "other")
	_, err := f.Apply(t.Context(), unit, web(tcp(80, nil)))
	var wait intent.Wait
	if !errors.As(err, &wait) || wait.Reason != "AddressTaken" {
		t.Fatalf("it says %v", err)
	}
	c.Edit("loadbalancers", "default/web", func(lb map[string]any) { lb["tags"] = []any{"theirs"}; lb["provisioning_status"] = "ACTIVE" })
	apply(t, f, unit, web(tcp(80, members(8080, "10.50.0.11"))))
	same(t, c, webTree([]string{"default/web:TCP:80"}, "default/pod11:8080"))
	apply(t, f, unit, intent.Want{})
	same(t, c, map[string][]string{})
}

func TestLeftoverPort(t *testing.T) {
	for age, free := range map[time.Duration]bool{time.Second: false, time.Hour: true} {
		c := octaviatest.New(t)
		c.Add("ports", map[string]any{"name": vipPortPrefix + "gone", "address": "10.60.0.20", "subnet": octaviatest.Services})
		c.Edit("ports", "10.60.0.20", func(p map[string]any) {
			p["created_at"] = time.Now().Add(-age).UTC().Format("2006-01-02T15:04:05Z")
		})
		_, err := start(c, "k").Apply(t.Context(), unit, web(tcp(80, nil)))
		if free != (err == nil) {
			t.Errorf("after %s: %v", age, err)
		}
	}
}

func TestDeletedResourcesComeBack(t *testing.T) {
	c := octaviatest.New(t)
	c.Slow(0)
	f := start(c, "k")
	want := web(tcp(80, members(8080, "10.50.0.11")))
	whole := webTree([]string{"default/web:TCP:80"}, "default/pod11:8080")
	apply(t, f, unit, want)
	for collection, name := range map[string]string{
		"members": "default/pod11:8080", "pools": "default/web:TCP:80", "listeners": "default/web:TCP:80", "loadbalancers": "default/web",
	} {
		if units, err := f.Drifted(t.Context()); err != nil || len(units) != 0 {
			t.Fatalf("drifted: %v, %v", units, err)
		}
		c.Edit(collection, name, nil)
		c.Fail(nil)
		units, err := f.Drifted(t.Context())
		if diff := cmp.Diff([]intent.Unit{unit}, units); err != nil || diff != "" || len(c.Calls()) != 1 {
			t.Errorf("%s: %v, %d calls, %s", collection, err, len(c.Calls()), diff)
		}
		apply(t, f, unit, want)
		same(t, c, whole)
	}
}

func TestFloating(t *testing.T) {
	c := octaviatest.New(t)
	c.Slow(0)
	f := start(c, "k")
	w := func() intent.Want { return web(tcp(80, nil)) }
	observed := apply(t, f, unit, floating(w(), ""))
	own := observed.FloatingIPs["default/web"]
	if !own.IsValid() || !observed.LoadBalancers["default/web"].FloatingIP.Own {
		t.Fatalf("seen %+v", observed)
	}
	c.Edit("floatingips", own.String(), func(fip map[string]any) { fip["port_id"] = nil })
	if units, err := f.Drifted(t.Context()); err != nil || len(units) != 1 {
		t.Errorf("drifted: %v, %v", units, err)
	}
	apply(t, f, unit, floating(w(), ""))
	if again := apply(t, f, unit, floating(w(), "")); again.Changed != 0 || again.FloatingIPs["default/web"] != own {
		t.Errorf("the second time %+v", again)
	}
	c.Edit("loadbalancers", "default/web", nil)
	if again := apply(t, f, unit, floating(w(), "")); again.FloatingIPs["default/web"] != own {
		t.Errorf("the balancer came back with %+v, it had %s", again.FloatingIPs, own)
	}
	_, err := f.Apply(t.Context(), unit, floating(w(), "172.24.4.200"))
	var stop intent.Stop
	if !errors.As(err, &stop) || stop.Reason != "NoSuchFloatingIP" {
		t.Errorf("it says %v", err)
	}
	c.Add("floatingips", map[string]any{"floating_ip_address": "172.24.4.200", "description": "mine", "tags": []any{"t"}, "project_id": octaviatest.Project})
	if users := apply(t, f, unit, floating(w(), "172.24.4.200")); users.LoadBalancers["default/web"].FloatingIP.Own {
		t.Errorf("seen %+v", users)
	}
	if diff := cmp.Diff([]string{"172.24.4.200 -> 10.60.0.20"}, c.Names("floatingips")); diff != "" {
		t.Error(diff)
	}
	apply(t, f, unit, w())
	if diff := cmp.Diff([]string{"172.24.4.200 -> "}, c.Names("floatingips")); diff != "" {
		t.Error(diff)
	}
	apply(t, f, unit, floating(w(), ""))
	apply(t, f, unit, intent.Want{})
	same(t, c, map[string][]string{"floatingips": {"172.24.4.200 -> "}})
}

func TestUnits(t *testing.T) {
	c := octaviatest.New(t)
	f := start(c, "k")
	apply(t, f, unit, floating(web(), ""))
	other := web()
	other.LoadBalancers[0].VIP = netip.MustParseAddr("10.60.0.99")
	apply(t, start(c, "k2"), "service/default/theirs", other)
	c.Edit("loadbalancers", "default/web", nil)
	// The user's floating IP has our owner's tag and names no unit.
	c.Add("floatingips", map[string]any{"floating_ip_address": "172.24.4.99", "description": "", "tags": []any{openstack.TagOwner + "k"}})
	units, err := f.Units(t.Context())
	if diff := cmp.Diff([]intent.Unit{unit}, units); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	owned, err := f.Owned(t.Context())
	if err != nil || slices.ContainsFunc(owned, func(s string) bool { return strings.Contains(s, "172.24.4.99") }) {
		t.Errorf("%v %v", err, owned)
	}
}
