package pod

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// world is a cluster and its network as values: objects, what was applied, and
// which unit has which address. It runs units as the controller does, without the
// controller's dependencies.
type world struct {
	objects map[string]any // by unit: *v1.Vpc, *v1.Subnet, *corev1.Pod, *corev1.Node, *decide.Router
	claims  map[string]*v1.IP
	applied map[intent.Unit]intent.Want
	// kept are the units whose last decision was to keep everything.
	kept   map[intent.Unit]bool
	leases decidetest.Leases
	uid    int
}

func newWorld() *world {
	return &world{objects: map[string]any{}, claims: map[string]*v1.IP{}, applied: map[intent.Unit]intent.Want{}, kept: map[intent.Unit]bool{}, leases: decidetest.Leases{}}
}

// The objects of a world. Some have the same port names, overlap or block others.
var (
	vpcs  = map[string]string{"join": v1.DefaultVpc, "ovn-default": v1.DefaultVpc, "a": decidetest.Router, "b": decidetest.Router, "c": "blue", "blue": "blue"}
	known = []string{
		"vpc/ovn-cluster", "vpc/blue", "vpc/" + decidetest.Router, "subnet/join", "subnet/ovn-default", "subnet/a", "subnet/b", "subnet/c", "subnet/blue",
		"node/n", "node/a.ns", "pod/ns/p", "pod/ns/q", "pod/ns/node-a", "pod/other/p", "router",
	}
)

func (w *world) add(name string) {
	kind, n := parseUnit(name)
	w.uid++
	switch {
	case w.objects[name] != nil:
	case kind == "vpc" && decide.External(n.Name): // It is created with the router.
	case kind == "vpc":
		w.objects[name] = decidetest.Vpc(n.Name, "ns")
	case kind == "subnet":
		s := decidetest.Subnet(n.Name, vpcs[n.Name], decidetest.CIDRs[n.Name])
		if n.Name == "a" {
			s.Spec.Namespaces = []string{"ns"}
		}
		w.objects[name] = s
	case kind == "node":
		w.objects[name] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: "node"}}
	case kind == "pod":
		w.objects[name] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Namespace: n.Namespace, UID: types.UID(fmt.Sprint(w.uid))}, Spec: corev1.PodSpec{NodeName: "n"}}
	case kind == "router":
		w.objects[name] = &decide.Router{Name: decidetest.Router, Interfaces: []decide.RouterInterface{{Prefix: decidetest.Prefix("192.168.1.0/24"), Network: "neutron-net"}}, Networks: []string{"neutron-net"}}
	}
}

// remove deletes an object as kubectl does: an object with our finalizer stays
// for now.
func (w *world) remove(name string) {
	o, ok := w.objects[name].(metav1.Object)
	if ok && len(o.GetFinalizers()) > 0 {
		now := metav1.NewTime(o.GetCreationTimestamp().Time)
		o.SetDeletionTimestamp(&now)
		return
	}
	delete(w.objects, name)
}

func parseUnit(name string) (string, types.NamespacedName) {
	parts := strings.Split(name, "/")
	switch len(parts) {
	case 3:
		return parts[0], types.NamespacedName{Namespace: parts[1], Name: parts[2]}
	case 2:
		return parts[0], types.NamespacedName{Name: parts[1]}
	}
	return name, types.NamespacedName{}
}

func object[T any](w *world, name string) (o T) {
	o, _ = w.objects[name].(T)
	return o
}

func all[T any](w *world) (list []T) {
	for _, name := range slices.Sorted(maps.Keys(w.objects)) {
		if o, ok := w.objects[name].(T); ok {
			list = append(list, o)
		}
	}
	return list
}

func (w *world) router(vpc string) *decide.Router {
	if decide.External(vpc) {
		return object[*decide.Router](w, "router")
	}
	if len(w.applied[intent.Unit("vpc/"+vpc)].Routers) > 0 {
		return &decide.Router{Name: vpc, Ours: true}
	}
	return nil
}

// run runs one unit, and returns whether it changed anything.
func (w *world) run(name string) bool {
	before := w.text()
	kind, n := parseUnit(name)
	switch kind {
	case "vpc":
		w.runVpc(name, n.Name)
	case "subnet":
		w.runSubnet(name, n.Name)
	case "node":
		w.runNode(name, n.Name)
	case "pod":
		w.runPod(name, n)
	}
	return w.text() != before
}

// apply does what the unit's fabric would do, and returns the parts of d. If d
// keeps everything, what was applied last stays.
func apply[R any](w *world, name string, d intent.Decision[R]) (intent.Want, R, error) {
	want, report, err := decidetest.Parts(d)
	if _, called := d.Want(); !called {
		w.kept[intent.Unit(name)] = true
		return want, report, err
	}
	delete(w.kept, intent.Unit(name))
	if delete(w.applied, intent.Unit(name)); !cmp.Equal(want, intent.Want{}, decidetest.Compare) {
		w.applied[intent.Unit(name)] = want
	}
	return want, report, err
}

func (w *world) runVpc(name, vpc string) {
	f := decide.VpcFacts{Name: vpc, Vpc: object[*v1.Vpc](w, name), Router: w.router(vpc)}
	for _, s := range all[*v1.Subnet](w) {
		if s.Spec.Vpc == vpc {
			f.Subnets = append(f.Subnets, s)
		}
	}
	_, report, _ := apply(w, name, decide.Vpc(f))
	switch {
	case report.Action == decide.Make && f.Vpc == nil:
		w.objects[name] = decidetest.Vpc(vpc, "ns")
	case report.Action == decide.Make:
		f.Vpc.Labels = map[string]string{v1.LabelVpcExternal: "true"}
	case report.Action == decide.Remove:
		delete(w.objects, name)
	default:
		w.finish(name, f.Vpc, report.Action)
	}
	if v := object[*v1.Vpc](w, name); v != nil && report.Action != decide.Make {
		v.Status = report.Status
	}
}

func (w *world) finish(name string, o metav1.Object, d decide.Action) {
	switch d {
	case decide.Hold:
		o.SetFinalizers([]string{v1.Finalizer})
	case decide.Release:
		delete(w.objects, name)
	}
}

func (w *world) runSubnet(name, subnet string) {
	f := decide.SubnetFacts{Name: subnet, Subnet: object[*v1.Subnet](w, name), UnderlayMTU: 1500}
	if f.Subnet != nil {
		f.Vpc, f.Router = object[*v1.Vpc](w, "vpc/"+f.Subnet.Spec.Vpc), w.router(f.Subnet.Spec.Vpc)
	}
	for _, s := range all[*v1.Subnet](w) {
		if s.Name != subnet {
			f.Others = append(f.Others, s)
		}
	}
	for _, lease := range w.leases {
		if len(lease) > len(subnet) && lease[:len(subnet)+1] == subnet+" " {
			f.Users = append(f.Users, lease)
		}
	}
	_, report, err := apply(w, name, decide.Subnet(f))
	if f.Subnet == nil {
		return
	}
	w.finish(name, f.Subnet, report.Action)
	status := metav1.ConditionFalse
	if err == nil {
		status = metav1.ConditionTrue
	}
	f.Subnet.Status = report.Status
	meta.SetStatusCondition(&f.Subnet.Status.Conditions, metav1.Condition{Type: v1.ConditionReady, Status: status, Reason: "R" + decidetest.Reason(err)})
	f.Subnet.Status.Conditions[0].LastTransitionTime = metav1.Time{}
}

func (w *world) runNode(name, node string) {
	f := decide.NodeFacts{Name: node, Node: object[*corev1.Node](w, name), NodeSubnet: object[*v1.Subnet](w, "subnet/join"), Claim: w.claims[decide.NodePort(node)], Leases: w.leases}
	w.report(name, decide.NodePort(node), decide.Node(f))
}

func (w *world) runPod(name string, n types.NamespacedName) {
	f := Facts{
		Namespace: n.Namespace, Name: n.Name, Pod: object[*corev1.Pod](w, name), Subnets: all[*v1.Subnet](w),
		ClaimFacts:  ClaimFacts{Claim: w.claims[decide.PodPort(n.Namespace, n.Name)], Leases: w.leases},
		AttachFacts: AttachFacts{OnNode: w.objects["node/n"] != nil},
		PlaceFacts:  PlaceFacts{Vpcs: all[*v1.Vpc](w)},
	}
	w.report(name, decide.PodPort(n.Namespace, n.Name), Decide(f))
}

func (w *world) report(name, port string, d intent.Decision[*v1.IP]) {
	_, ip, err := apply(w, name, d)
	switch {
	case w.kept[intent.Unit(name)]:
	case ip == nil:
		if c := w.claims[port]; c != nil && decide.IPUnit(c) == intent.Unit(name) {
			delete(w.claims, port)
		}
		w.leases.Free(intent.Unit(name))
	case err == nil:
		w.claims[port] = ip
	}
}

// text returns the whole world as JSON, to detect changes.
func (w *world) text() string {
	text, err := json.Marshal([]any{w.objects, w.claims, w.applied, w.leases})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// settle runs all units in that order until nothing changes any more.
func (w *world) settle(t interface{ Fatal(...any) }, order []string) {
	for range 30 {
		changed := false
		for _, name := range order {
			changed = w.run(name) || changed
		}
		if !changed {
			return
		}
	}
	t.Fatal("never settles:", w.text())
}

// Objects are added and removed in any order. No two units have the same address,
// no two ports have the same name, no two networks of a router overlap, and
// nothing of a deleted object is left. Once all pods are deleted, what is wanted
// does not depend on the order. The only exception are Subnets that are refused
// then: they keep what they had, or have nothing.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		for i := range rapid.IntRange(1, 15).Draw(rt, "steps") {
			name := rapid.SampledFrom(known).Draw(rt, fmt.Sprint("what", i))
			if rapid.IntRange(0, 2).Draw(rt, fmt.Sprint("how", i)) == 0 {
				w.remove(name)
			} else {
				w.add(name)
			}
			w.settle(rt, rapid.Permutation(known).Draw(rt, fmt.Sprint("order", i)))
			w.checkPorts(rt)
			w.checkNetworks(rt)
		}
		for _, name := range known {
			if kind, _ := parseUnit(name); kind == "pod" || kind == "node" {
				w.remove(name)
			}
		}
		if v := object[*v1.Vpc](w, "vpc/blue"); v != nil && !v.DeletionTimestamp.IsZero() {
			w.remove("subnet/c") // otherwise the Vpc waits for it
			w.remove("subnet/blue")
		}
		w.settle(rt, known)
		w.compareWithFresh(rt)
	})
}
