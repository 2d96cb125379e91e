package controller

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

// fail CODE METHOD PATH [WORD [N]] makes calls fail with CODE, all of them or
// only the N-th. METHOD may be ANY, PATH is a regular expression, CODE 0 breaks
// the connection.
func (w *world) fail(args []string) error {
	f, err := faultOf(args[1:])
	if err == nil {
		f.code, err = strconv.Atoi(args[0])
	}
	if err == nil {
		w.cloud.proxy.add(f)
	}
	return err
}

// lose METHOD PATH [WORD [N]] executes calls and loses their answers.
func (w *world) lose(args []string) error {
	f, err := faultOf(args)
	if err == nil {
		f.loseAnswer = true
		w.cloud.proxy.add(f)
	}
	return err
}

// hold METHOD PATH blocks calls until heal.
func (w *world) hold(args []string) error {
	f, err := faultOf(args)
	if err == nil {
		f.hold = make(chan struct{})
		w.cloud.proxy.add(f)
	}
	return err
}

func faultOf(args []string) (*fault, error) {
	path, err := regexp.Compile(args[1])
	f := &fault{method: args[0], path: path}
	if len(args) > 2 {
		f.word = args[2]
	}
	if len(args) > 3 && err == nil {
		f.nth, err = strconv.Atoi(args[3])
	}
	return f, err
}

// happens waits until a call has had a fault or has been refused.
func (w *world) happens([]string) error {
	return eventually("yes", func() (string, error) {
		if w.cloud.proxy.hits() > 0 {
			return "yes", nil
		}
		return "no call has met a fault", nil
	})
}

func (w *world) heal([]string) error {
	w.cloud.proxy.heal()
	return nil
}

// login expired|refused|accepted|changed revokes all tokens. The password stays
// as it is, becomes invalid, becomes valid again, or is changed in Keystone.
// correct then changes it in clouds.yaml.
func (w *world) login(args []string) error {
	d, secret := w.cloud.proxy, neutrontest.Secret
	switch args[0] {
	case "expired":
		secret = d.secret()
	case "refused":
		secret = "nobody-knows"
	case "changed":
		secret = newSecret
	}
	d.revokeTokens(secret)
	return nil
}

// correct writes the changed password into clouds.yaml.
func (w *world) correct([]string) error {
	text, err := os.ReadFile(w.cloud.proxyClouds)
	if err != nil {
		return err
	}
	return os.WriteFile(w.cloud.proxyClouds, bytes.ReplaceAll(text, []byte(neutrontest.Secret), []byte(newSecret)), 0o600)
}

// balancerQuota N sets the quota of load balancers; 0 for no limit.
func (w *world) balancerQuota(args []string) error {
	n, err := strconv.Atoi(args[0])
	w.cloud.octavia.Quota(n)
	return err
}

// vanish COLLECTION NAME deletes all objects of that name in Neutron, as another
// user would.
func (w *world) vanish(args []string) error {
	for _, o := range w.objects(args[0]) {
		if o.Name != args[1] {
			continue
		}
		if err := w.call(http.MethodDelete, args[0]+"/"+o.ID, ""); err != nil {
			return err
		}
	}
	return nil
}

// status COLLECTION NAME STATUS sets the status of an object in Octavia.
func (w *world) status(args []string) error {
	w.cloud.octavia.Edit(args[0], args[1], func(o map[string]any) { o["provisioning_status"] = args[2] })
	return nil
}

// slow N makes Octavia report each change as pending N times.
func (w *world) slow(args []string) error {
	n, err := strconv.Atoi(args[0])
	w.cloud.octavia.Slow(n)
	return err
}

// broken N makes the next N changes in Octavia end in status ERROR.
func (w *world) broken(args []string) error {
	n, err := strconv.Atoi(args[0])
	w.cloud.octavia.Break(n)
	return err
}

// note KIND TEMPLATE records what kube would compare. noted waits until it is the
// same again.
func (w *world) note(args []string) error {
	text, err := w.render(args[0], args[1])
	w.noted = [3]string{args[0], args[1], text}
	return err
}

func (w *world) asNoted([]string) error {
	return eventually(w.noted[2], func() (string, error) { return w.render(w.noted[0], w.noted[1]) })
}

// bound waits until each claim names a Neutron port that has its address.
func (w *world) bound([]string) error {
	return eventually("", func() (string, error) {
		there := map[string]bool{}
		for _, p := range w.objects("ports") {
			for _, ip := range p.IPs {
				there[p.ID+" "+ip.Addr] = true
			}
		}
		claims, err := w.render("ip", "{.spec.attach.ovs.ifaceID} {.spec.v4IpAddress}")
		lines := strings.Split(strings.TrimSpace(claims), "\n")
		return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return there[l] }), "\n"), err
	})
}

// run NAMESPACE/POD [ADDRESS] creates a pod on node1. Its port is from the pool,
// or new if it asks for ADDRESS.
func (w *world) run(args []string) error {
	p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	p.Namespace, p.Name, _ = strings.Cut(args[0], "/")
	if len(args) > 1 {
		p.Annotations = map[string]string{v1.AnnotationIPAddress: args[1]}
	}
	return w.client.Create(context.Background(), p)
}

// checkEvents fails the test if an event contains a secret.
func (w *world) checkEvents() {
	var l corev1.EventList
	if err := w.client.List(context.Background(), &l); err != nil {
		w.t.Error(err)
	}
	for _, e := range l.Items {
		if slices.ContainsFunc(secrets(), func(s string) bool { return strings.Contains(e.Message, s) }) {
			w.t.Errorf("event %s tells a secret: %s", e.Reason, e.Message)
		}
	}
}
