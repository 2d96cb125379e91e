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

// fail CODE METHOD PATH [WORD [N]]: calls get that answer, all or only the N-th;
// METHOD may be ANY, PATH is a regular expression, CODE 0 breaks the connection.
func (w *world) fail(args []string) error {
	f, err := faultOf(args[1:])
	if err == nil {
		f.code, err = strconv.Atoi(args[0])
	}
	if err == nil {
		w.cloud.door.add(f)
	}
	return err
}

// lose METHOD PATH [WORD [N]]: calls are done, and their answer is lost.
func (w *world) lose(args []string) error {
	f, err := faultOf(args)
	if err == nil {
		f.late = true
		w.cloud.door.add(f)
	}
	return err
}

// hold METHOD PATH: calls take until heal.
func (w *world) hold(args []string) error {
	f, err := faultOf(args)
	if err == nil {
		f.gate = make(chan struct{})
		w.cloud.door.add(f)
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

// happens waits until some call has met a fault, or has been refused.
func (w *world) happens([]string) error {
	return eventually("yes", func() (string, error) {
		if w.cloud.door.met() > 0 {
			return "yes", nil
		}
		return "no call has met a fault", nil
	})
}

func (w *world) heal([]string) error {
	w.cloud.door.heal()
	return nil
}

// login expired|refused|accepted|changed: all tokens are taken back; and the
// password is no good, is good again, or is another one, first in Keystone and
// then in clouds.yaml.
func (w *world) login(args []string) error {
	d, secret := w.cloud.door, neutrontest.Secret
	switch args[0] {
	case "expired":
		secret = d.secret()
	case "refused":
		secret = "nobody-knows"
	case "changed":
		secret = newSecret
	}
	d.lock(secret)
	return nil
}

// correct writes the changed password into clouds.yaml.
func (w *world) correct([]string) error {
	text, err := os.ReadFile(w.cloud.front)
	if err != nil {
		return err
	}
	return os.WriteFile(w.cloud.front, bytes.ReplaceAll(text, []byte(neutrontest.Secret), []byte(newSecret)), 0o600)
}

// balancerQuota N: so many load balancers there may be, any number with 0.
func (w *world) balancerQuota(args []string) error {
	n, err := strconv.Atoi(args[0])
	w.cloud.octavia.Quota(n)
	return err
}

// vanish COLLECTION NAME: somebody deletes all that has that name in Neutron.
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

// status COLLECTION NAME STATUS: Octavia says that of a thing.
func (w *world) status(args []string) error {
	w.cloud.octavia.Edit(args[0], args[1], func(o map[string]any) { o["provisioning_status"] = args[2] })
	return nil
}

// slow N: Octavia is seen at work on each change N times.
func (w *world) slow(args []string) error {
	n, err := strconv.Atoi(args[0])
	w.cloud.octavia.Slow(n)
	return err
}

// broken N: the next N changes in Octavia end in status ERROR.
func (w *world) broken(args []string) error {
	n, err := strconv.Atoi(args[0])
	w.cloud.octavia.Break(n)
	return err
}

// note KIND TEMPLATE keeps what kube would compare, noted waits until it is so again.
func (w *world) note(args []string) error {
	text, err := w.shown(args[0], args[1])
	w.words = [3]string{args[0], args[1], text}
	return err
}

func (w *world) asNoted([]string) error {
	return eventually(w.words[2], func() (string, error) { return w.shown(w.words[0], w.words[1]) })
}

// bound waits until each claim names a port of Neutron's that has its address.
func (w *world) bound([]string) error {
	return eventually("", func() (string, error) {
		there := map[string]bool{}
		for _, p := range w.objects("ports") {
			for _, ip := range p.IPs {
				there[p.ID+" "+ip.Addr] = true
			}
		}
		claims, err := w.shown("ip", "{.spec.attach.ovs.ifaceID} {.spec.v4IpAddress}")
		lines := strings.Split(strings.TrimSpace(claims), "\n")
		return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return there[l] }), "\n"), err
	})
}

// run NAMESPACE/POD [ADDRESS]: a pod on node1, with a port of the pool or, for
// that address, of its own.
func (w *world) run(args []string) error {
	p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	p.Namespace, p.Name, _ = strings.Cut(args[0], "/")
	if len(args) > 1 {
		p.Annotations = map[string]string{v1.AnnotationIPAddress: args[1]}
	}
	return w.client.Create(context.Background(), p)
}

// checkEvents looks for what nobody may be told.
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
