package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// internal/reach tests which traffic the groups permit.

func policyOf(t *testing.T, namespace, name, spec string) *netv1.NetworkPolicy {
	t.Helper()
	np := &netv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &np.Spec); err != nil {
		t.Fatal(err)
	}
	return np
}

const fullSpec = `
podSelector: {matchLabels: {app: db}}
policyTypes: [Ingress, Egress]
ingress:
- from:
  - podSelector: {matchLabels: {app: web}}
  - namespaceSelector: {matchLabels: {team: red}}
  - ipBlock: {cidr: 10.1.0.0/16, except: [10.1.0.0/17, 10.1.128.0/18]}
  - podSelector: {matchLabels: {openstack.org/security-group: vms}}
  ports: [{port: 80, endPort: 90}, {port: 85}, {protocol: UDP, port: sql}]
egress:
- to: [{ipBlock: {cidr: 0.0.0.0/0}}]
- to: [{podSelector: {}}]
  ports: [{port: sql}]
`

func TestPolicyGroups(t *testing.T) {
	t.Parallel()
	b := NewIndex([]*netv1.NetworkPolicy{policyOf(t, "ns", "db", fullSpec)})
	ports := PortCount{{"ns", "sql", "udp", 53}: 1, {"other", "sql", "udp", 54}: 1, {"ns", "sql", "tcp", 3306}: 2}
	want, _, err := decidetest.Parts(Decide(Facts{Namespace: "ns", Name: "db", Index: b, Ports: ports, CloudGroups: map[string]string{"vms": "id"}}))
	if err != nil {
		t.Fatal(err)
	}
	got := format(want.Groups)
	wanted := strings.TrimSpace(`
policy/ns/db
  egress tcp 3306-3306 peer/pods() namespace(ns) port(sql/tcp)=3306
  egress any 0-0 v4
  ingress tcp 80-90 10.1.192.0/18
  ingress tcp 80-90 peer/pods() namespaces(team=red)
  ingress tcp 80-90 peer/pods(app=web) namespace(ns)
  ingress tcp 80-90 cloud id
policy/ns/db/sql/udp/53
  ingress udp 53-53 10.1.192.0/18
  ingress udp 53-53 peer/pods() namespaces(team=red)
  ingress udp 53-53 peer/pods(app=web) namespace(ns)
  ingress udp 53-53 cloud id`)
	if d := cmp.Diff(lines(wanted), lines(got)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// lines sorts the lines of each group, so that their order does not matter.
func lines(text string) []string {
	groups := strings.Split(text, "\npolicy")
	for i, g := range groups {
		l := strings.Split(g, "\n")
		slices.Sort(l[1:])
		groups[i] = strings.Join(l, "\n")
	}
	return groups
}

// format returns groups as text, without the hashes.
func format(groups []intent.Group) string {
	var out []string
	for _, g := range groups {
		out = append(out, g.Name)
		for _, r := range g.Rules {
			peer := "anybody"
			switch {
			case r.RemoteGroup != "":
				peer = r.RemoteGroup[:strings.LastIndexByte(r.RemoteGroup, '/')]
			case r.RemoteCloudGroup != "":
				peer = "cloud " + r.RemoteCloudGroup
			case r.Remote.IsValid():
				peer = r.Remote.String()
			case r.Family != 0:
				peer = fmt.Sprint("v", r.Family)
			}
			protocol := r.Protocol
			if protocol == "" {
				protocol = "any"
			}
			out = append(out, fmt.Sprintf("  %s %s %d-%d %s", r.Direction, protocol, r.First, r.Last, peer))
		}
	}
	return strings.Join(out, "\n")
}

func TestSharedGroups(t *testing.T) {
	t.Parallel()
	from := func(selector string) string { return "podSelector: {}\ningress: [{from: [" + selector + "]}]" }
	one := policyOf(t, "a", "one", from(`{podSelector: {matchLabels: {x: "1", y: "2"}}}`))
	same := policyOf(t, "a", "same", from(`{podSelector: {matchExpressions: [{key: y, operator: In, values: ["2"]}, {key: x, operator: In, values: ["1"]}]}}`))
	elsewhere := policyOf(t, "b", "one", from(`{podSelector: {matchLabels: {x: "1", y: "2"}}}`))
	for _, c := range []struct {
		policies []*netv1.NetworkPolicy
		groups   int
	}{
		{nil, 0},
		{[]*netv1.NetworkPolicy{one}, 1},
		{[]*netv1.NetworkPolicy{one, same}, 1},
		{[]*netv1.NetworkPolicy{same}, 1},
		{[]*netv1.NetworkPolicy{same, one, elsewhere}, 2},
	} {
		b := NewIndex(c.policies)
		groups := b.Groups(nil)
		if len(groups) != c.groups+2 { // OpenIngress and OpenEgress
			t.Errorf("%d policies make groups %v, want %d", len(c.policies), groups, c.groups)
		}
		for u, g := range groups {
			if got, _, _ := decidetest.Parts(SharedGroup(GroupFacts{Unit: u, Index: b})); !reflect.DeepEqual(got.Groups, []intent.Group{g}) {
				t.Errorf("unit %s wants %v, not %v", u, got, g)
			}
		}
	}
	u := SharedGroups(one, nil)
	if d := cmp.Diff(u, SharedGroups(same, nil)); d != "" || len(u) != 1 {
		t.Errorf("one and same do not share: %v\n%s", u, d)
	}
	if left, _, _ := decidetest.Parts(SharedGroup(GroupFacts{Unit: u[0], Index: NewIndex(nil)})); len(left.Groups) != 0 {
		t.Errorf("the last policy is gone, the group is not: %v", left)
	}
}

func TestNamesAreShortAndUnique(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	values := `"` + long + `", "` + strings.Repeat("b", 63) + `", "` + strings.Repeat("c", 63) + `", "` + strings.Repeat("d", 62)
	spec := func(more string) string {
		return `{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: k, operator: In, values: [` + values + more + `"]}]}}], ports: [{port: name}]}]}`
	}
	name := strings.Repeat(long+".", 4)[:253]
	seen := map[string]bool{}
	for _, more := range []string{"1", "2"} {
		p := policyOf(t, long, name[:252]+more, spec(more))
		b := NewIndex([]*netv1.NetworkPolicy{p})
		ports := PortCount{{long, "name", "tcp", 1}: 1}
		want, _, err := decidetest.Parts(Decide(Facts{Namespace: long, Name: p.Name, Index: b, Ports: ports}))
		if err != nil {
			t.Fatal(err)
		}
		groups := want.Groups
		for _, g := range b.Groups(ports) {
			if g.Rules == nil {
				groups = append(groups, g)
			}
		}
		for _, g := range groups {
			if len(g.Name) > 255 || seen[g.Name] {
				t.Errorf("%d characters, seen %v: %s", len(g.Name), seen[g.Name], g.Name)
			}
			seen[g.Name] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d groups, want 6", len(seen))
	}
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	web := policyOf(t, "ns", "web", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http}]}]}`)
	out := policyOf(t, "ns", "out", `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}`)
	b, both := NewIndex([]*netv1.NetworkPolicy{web}), NewIndex([]*netv1.NetworkPolicy{web, out})
	pod := Pod{Namespace: "ns", Name: "p", Node: "n", Labels: map[string]string{"app": "web"}, Ports: []NamedPort{{"ns", "http", "tcp", 80}}}
	with := func(change func(*Pod)) Pod {
		p := pod
		change(&p)
		return p
	}
	text := func(s string) *string { return &s }
	free := with(func(p *Pod) { p.Labels = nil })
	for name, c := range map[string]struct {
		index    *Index
		pod      Pod
		standard []string
		groups   []string
		clouds   []string
		refused  bool
	}{
		"selected by none":             {b, free, nil, []string{GroupPods}, nil, false},
		"of another namespace":         {b, with(func(p *Pod) { p.Namespace = "other" }), nil, []string{GroupPods}, nil, false},
		"ingress":                      {b, pod, nil, []string{"node/n", OpenEgress, "policy/ns/web", "policy/ns/web/http/tcp/80"}, nil, false},
		"no such port":                 {b, with(func(p *Pod) { p.Ports = nil }), nil, []string{"node/n", OpenEgress, "policy/ns/web"}, nil, false},
		"not bound":                    {b, with(func(p *Pod) { p.Node = "" }), nil, []string{OpenEgress, "policy/ns/web", "policy/ns/web/http/tcp/80"}, nil, false},
		"both":                         {both, pod, nil, []string{"node/n", "policy/ns/out", "policy/ns/web", "policy/ns/web/http/tcp/80"}, nil, false},
		"standard, selected by none":   {b, free, []string{"std"}, []string{"node/n"}, []string{"std"}, false},
		"standard, selected":           {b, pod, []string{"std"}, []string{"node/n", OpenEgress, "policy/ns/web", "policy/ns/web/http/tcp/80"}, nil, false},
		"asks for groups":              {b, with(func(p *Pod) { p.Labels, p.Asked = nil, text("y, x,y") }), []string{"std"}, []string{"node/n"}, []string{"1", "y"}, false},
		"asks for groups, selected":    {b, with(func(p *Pod) { p.Asked = text("x") }), []string{"std"}, []string{"node/n", "policy/ns/web", "policy/ns/web/http/tcp/80"}, []string{"1"}, false},
		"asks for none":                {b, with(func(p *Pod) { p.Labels, p.Asked = nil, text("") }), []string{"std"}, []string{"node/n"}, []string{"std"}, false},
		"asks for what it may":         {b, with(func(p *Pod) { p.Labels, p.Asked, p.Allowed = nil, text("x"), text("y,x") }), nil, []string{"node/n"}, []string{"1"}, false},
		"asks for what is not there":   {b, with(func(p *Pod) { p.Asked = text("x,z") }), nil, []string{"node/n", OpenEgress, "policy/ns/web", "policy/ns/web/http/tcp/80"}, nil, true},
		"asks for what it may not":     {b, with(func(p *Pod) { p.Labels, p.Asked, p.Allowed = nil, text("x"), text("y") }), nil, []string{GroupPods}, nil, true},
		"its namespace allows nothing": {b, with(func(p *Pod) { p.Asked, p.Allowed = text("x"), text("") }), nil, []string{"node/n", OpenEgress, "policy/ns/web", "policy/ns/web/http/tcp/80"}, nil, true},
	} {
		m, err := c.index.Memberships(c.pod, CloudGroups{c.standard, map[string]string{"x": "1", "y": "y"}})
		if d := cmp.Diff(c.groups, m.Groups); d != "" || (err != nil) != c.refused {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
		if d := cmp.Diff(c.clouds, m.CloudGroups); d != "" && len(c.clouds)+len(m.CloudGroups) > 0 {
			t.Errorf("%s: cloud groups\n%s", name, d)
		}
	}
}

// An invalid part permits nothing, and the rest of the policy applies.
func TestInvalidPolicies(t *testing.T) {
	t.Parallel()
	peer := func(p string) string { return `{podSelector: {}, ingress: [{from: [` + p + `]}]}` }
	for spec, why := range map[string]string{
		peer(`{ipBlock: {cidr: 10.0.0.1000/8}}`):                              `spec.ingress[0] peer 0: ipBlock has "10.0.0.1000/8"`,
		peer(`{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8, nonsense]}}`): `"nonsense"`,
		peer(`{ipBlock: {cidr: "::ffff:10.0.0.0/104"}}`):                      `not a network`,
		peer(`{}`): `names nobody`,
		peer(`{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}`):                                                           `make two peers`,
		peer(`{podSelector: {matchExpressions: [{key: a, operator: Like}]}}`):                                            `Like`,
		peer(`{podSelector: {matchLabels: {openstack.org/security-group: x, app: web}}}`):                                `stands alone`,
		peer(`{podSelector: {matchLabels: {openstack.org/security-group: x}}, namespaceSelector: {}}`):                   `stands alone`,
		peer(`{podSelector: {matchExpressions: [{key: openstack.org/security-group, operator: Exists}]}}`):               `stands alone`,
		`{podSelector: {}, ingress: [{ports: [{port: 0}]}]}`:                                                             `spec.ingress[0].ports[0]: ports 0 to 0`,
		`{podSelector: {}, ingress: [{ports: [{port: 10, endPort: 9}]}]}`:                                                `ports 10 to 9`,
		`{podSelector: {}, ingress: [{ports: [{port: http, endPort: 9}]}]}`:                                              `endPort needs`,
		`{podSelector: {}, ingress: [{ports: [{port: 1, protocol: ICMP}]}]}`:                                             `"ICMP"`,
		`{podSelector: {matchExpressions: [{key: a, operator: Like}]}, ingress: [{from: [{ipBlock: {cidr: nothing}}]}]}`: `spec.podSelector`,
	} {
		want, _, err := decidetest.Parts(Decide(Facts{Namespace: "ns", Name: "p", Index: NewIndex([]*netv1.NetworkPolicy{policyOf(t, "ns", "p", spec)})}))
		var stop intent.Stop
		if !asStop(err, &stop) || !strings.Contains(stop.Why, why) {
			t.Errorf("%s:\n%v, want %s", spec, err, why)
		}
		for _, g := range want.Groups {
			for _, r := range g.Rules {
				if r.RemoteGroup == "" {
					t.Errorf("%s lets somebody through: %v", spec, r)
				}
			}
		}
	}
}

func asStop(err error, s *intent.Stop) bool {
	var got intent.Stop
	ok := errors.As(err, &got)
	*s = got
	return ok
}

func TestGuard(t *testing.T) {
	t.Parallel()
	g := Guard("n", []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")}, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")})
	wanted := "node/n\n  egress any 0-0 10.0.0.9/32\n  egress any 0-0 fd00::9/128\n  ingress any 0-0 10.0.0.9/32\n  ingress any 0-0 10.96.0.0/12\n  ingress any 0-0 fd00::9/128"
	if d := cmp.Diff(lines(wanted), lines(format([]intent.Group{g}))); d != "" {
		t.Error(d)
	}
}

func TestNamedPortsOf(t *testing.T) {
	t.Parallel()
	always := corev1.ContainerRestartPolicyAlways
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{
			{Ports: []corev1.ContainerPort{{Name: "a", ContainerPort: 1}, {ContainerPort: 2}}},
			{Ports: []corev1.ContainerPort{{Name: "a", ContainerPort: 3}, {Name: "a", ContainerPort: 4, Protocol: "UDP"}}},
		},
		InitContainers: []corev1.Container{
			{Ports: []corev1.ContainerPort{{Name: "once", ContainerPort: 5}}},
			{Ports: []corev1.ContainerPort{{Name: "always", ContainerPort: 6, Protocol: "SCTP"}}, RestartPolicy: &always},
		},
	}}
	wanted := []NamedPort{{"ns", "a", "tcp", 1}, {"ns", "a", "udp", 4}, {"ns", "always", "sctp", 6}}
	if d := cmp.Diff(wanted, NamedPortsOf(p)); d != "" {
		t.Error(d)
	}
}
