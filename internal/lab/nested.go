package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/guest"
	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/kube"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
	"github.com/isthmus-cni/isthmus/internal/lab/worker"
)

const (
	// controller is Isthmus' own, by its component's and its account's name.
	controller = "isthmus-controller"
	// workerDisk is the step that makes what the nodes' disks begin as.
	workerDisk = "worker/disk"
)

// patience with nodes that run without hardware acceleration.
const patience = 6 * time.Minute

// admitted are the ports at which the world reaches the nodes: SSH, the kubelet,
// and a page that every guest has.
func (l *Lab) admitted() []int {
	if l.Profile != Nested {
		return nil
	}
	return []int{22, 80, 10250}
}

// workers are the virtual machines that are nodes of Kubernetes, one on each host.
func (l *Lab) workers() []guest.Spec {
	if l.Profile != Nested {
		return nil
	}
	var all []guest.Spec
	for i, n := range l.nodes {
		all = append(all, guest.Spec{
			Name: fmt.Sprintf("worker%d", i+1), Node: n.Name, Memory: worker.Memory, Modules: worker.Modules, Services: worker.Services,
			Cloud: openstack.Tenant, Network: l.cloud().Network(), Public: openstack.PublicNetwork, Trunk: true,
			Disk: l.disk().Image, Seed: l.seed,
		})
	}
	return all
}

func (l *Lab) isWorker(name string) bool {
	return slices.ContainsFunc(l.workers(), func(s guest.Spec) bool { return s.Name == name })
}

// workerNeeds are what a guest needs that is a node.
func (l *Lab) workerNeeds(s guest.Spec) []string {
	if s.Disk == nil {
		return nil
	}
	return []string{workerDisk, kube.APIServer}
}

func (l *Lab) disk() worker.Disk {
	return worker.Disk{
		Dir: filepath.Join(l.Dir, "disk"), Kubelet: filepath.Join(l.KubeBin, "kubelet"), Images: l.archives(),
		Supervisor: &supervise.Supervisor{Dir: l.sup.Dir, LogDir: l.sup.LogDir},
	}
}

// seed makes what a guest joins the cluster with.
func (l *Lab) seed(g guest.Guest) ([]guest.File, error) {
	files, err := l.cluster().Joining(kube.Machine{
		Name: g.Name, Provider: "openstack:///" + guest.ServerID(g.Name), Addresses: []netip.Addr{g.Address.Addr(), g.FloatingIP},
	})
	if err != nil {
		return nil, err
	}
	return worker.Files(g.Name, files)
}

// nodeStep is the name of the step after which a guest is a node.
func nodeStep(worker string) string { return worker + "/node" }

// join makes nodes of the guests.
func (l *Lab) join() []supervise.Component {
	steps := []supervise.Component{{Name: workerDisk, Do: func(ctx context.Context) error {
		_, err := l.disk().Image(ctx)
		return err
	}}}
	for _, w := range l.workers() {
		registered := w.Name + "/kubelet"
		steps = append(steps,
			supervise.Component{Name: registered, Needs: []string{guest.ComponentName(w.Name)}, Ready: func(ctx context.Context) error {
				return l.kubectl(ctx, "get", "node", w.Name)
			}},
			supervise.Component{Name: nodeStep(w.Name), Needs: []string{registered}, Do: func(ctx context.Context) error {
				return l.introduce(ctx, w.Name)
			}})
	}
	return steps
}

// uninitialized is on a node until its cloud has told what it knows of it.
const uninitialized = "node.cloudprovider.kubernetes.io/uninitialized"

// introduce does what a cloud's controller does for a new node: it tells the
// addresses. There is none in the lab.
func (l *Lab) introduce(ctx context.Context, name string) error {
	all, err := l.guests().List()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(g guest.Guest) bool { return g.Name == name })
	if i < 0 {
		return fmt.Errorf("there is no virtual machine %s", name)
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"addresses": addresses(all[i])}})
	if err != nil {
		return err
	}
	if err := l.kubectl(ctx, "patch", "node", name, "--subresource=status", "--type=merge", "-p", string(patch)); err != nil {
		return err
	}
	taints, err := host.Run(ctx, l.cluster().Kubectl("get", "node", name, "-o", "jsonpath={.spec.taints[*].key}")...)
	if err != nil || !strings.Contains(taints, uninitialized) {
		return err
	}
	return l.kubectl(ctx, "taint", "node", name, uninitialized+"-")
}

// addresses are a node's, as its status has them.
func addresses(g guest.Guest) []map[string]string {
	return []map[string]string{
		{"type": "InternalIP", "address": g.Address.Addr().String()},
		{"type": "ExternalIP", "address": g.FloatingIP.String()},
		{"type": "Hostname", "address": g.Name},
	}
}

// controller runs Isthmus' outside the nodes, beside the rest of the control plane.
func (l *Lab) controller() supervise.Component {
	listen := l.site().Gateway().Addr().String() + ":10661"
	program := filepath.Join(l.Repo, "bin", controller)
	return supervise.Component{
		Name:  controller,
		Needs: []string{isthmus + "/manifests", openstack.ResourcesName},
		Env:   []string{"BUILT=" + built(program)}, // one that was built anew is started anew
		Argv: []string{
			program, "--settings=" + l.settingsFile(),
			"--kubeconfig=" + l.cluster().AccountKubeconfig(controller), "--listen=" + listen,
			"--pool-socket=" + l.poolSocket(),
		},
		Prepare: func(context.Context) error {
			clouds, err := l.cloud().CloudOf(openstack.Tenant)
			if err != nil || l.cloudsFile() == "" {
				return err
			}
			return os.WriteFile(l.cloudsFile(), []byte(clouds), 0o600)
		},
		Ready: kube.Serves("http://" + listen + "/readyz"),
	}
}

// poolSocket is where that controller serves its pools.
func (l *Lab) poolSocket() string { return filepath.Join(l.Dir, "pool.sock") }

// built is when a program was; empty if there is none.
func built(program string) string {
	info, err := os.Stat(program)
	if err != nil {
		return ""
	}
	return info.ModTime().UTC().Format(time.RFC3339Nano)
}

// cloudsFile is where a controller outside the cluster finds what it may know of
// the cloud; empty for the usual place inside.
func (l *Lab) cloudsFile() string {
	if l.Profile != Nested || !l.neutronPods() {
		return ""
	}
	return filepath.Join(l.Dir, "kube", "clouds.yaml")
}

// settingsFile is what the ConfigMap has, for a controller outside the cluster.
func (l *Lab) settingsFile() string { return filepath.Join(l.Dir, "kube", "settings.yaml") }
