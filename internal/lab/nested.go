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
	// controller is the name of the component and of the account of Isthmus'
	// controller.
	controller = "isthmus-controller"
	// workerDisk is the step that makes the image of the nodes' disks.
	workerDisk = "worker/disk"
)

// nestedTimeout limits the wait for a component of profile Nested. It is long because the
// nodes may run without hardware acceleration.
const nestedTimeout = 6 * time.Minute

// workers returns the virtual machines that are Kubernetes nodes.
func (m Machines) workers() []guest.Spec {
	var all []guest.Spec
	for i, name := range m.workerNames() {
		all = append(all, guest.Spec{
			Name: name, Node: m.nodes[i].Name, Memory: worker.Memory, Modules: worker.Modules, Services: worker.Services,
			Cloud: openstack.Tenant, Network: m.cloud().Network(), Public: openstack.PublicNetwork, Trunk: true,
			Disk: m.disk().Image, Seed: m.seed,
		})
	}
	return all
}

// workerNeeds returns the components that a guest with a disk needs. Such a guest is
// a node. For other guests it returns nil.
func (m Machines) workerNeeds(s guest.Spec) []string {
	if s.Disk == nil {
		return nil
	}
	return []string{workerDisk, kube.APIServer}
}

func (m Machines) disk() worker.Disk {
	return worker.Disk{
		Dir: filepath.Join(m.Dir, "disk"), Kubelet: filepath.Join(m.KubeBin, "kubelet"), Images: m.archives(),
		Supervisor: &supervise.Supervisor{Dir: m.sup.Dir, LogDir: m.sup.LogDir},
	}
}

// seed returns the files with which a guest joins the cluster.
func (m Machines) seed(g guest.Guest) ([]guest.File, error) {
	files, err := m.cluster().Joining(kube.Machine{
		Name: g.Name, Provider: "openstack:///" + guest.ServerID(g.Name), Addresses: []netip.Addr{g.Address.Addr(), g.FloatingIP},
	})
	if err != nil {
		return nil, err
	}
	return worker.Files(g.Name, files)
}

// nodeStep returns the name of the step that completes a guest's node.
func nodeStep(worker string) string { return worker + "/node" }

// join returns the steps that make the guests Kubernetes nodes.
func (m Machines) join() []supervise.Component {
	steps := []supervise.Component{{Name: workerDisk, Do: func(ctx context.Context) error {
		_, err := m.disk().Image(ctx)
		return err
	}}}
	for _, w := range m.workers() {
		registered := w.Name + "/kubelet"
		steps = append(steps,
			supervise.Component{Name: registered, Needs: []string{guest.ComponentName(w.Name)}, Ready: func(ctx context.Context) error {
				return m.kubectl(ctx, "get", "node", w.Name)
			}},
			supervise.Component{Name: nodeStep(w.Name), Needs: []string{registered}, Do: func(ctx context.Context) error {
				return m.initializeNode(ctx, w.Name)
			}})
	}
	return steps
}

// uninitializedTaint is the taint of a node that a cloud controller has not initialized.
const uninitializedTaint = "node.cloudprovider.kubernetes.io/uninitialized"

// initializeNode initializes a new node: it sets the addresses and removes the taint. The
// lab has no cloud controller, which would do this elsewhere.
func (m Machines) initializeNode(ctx context.Context, name string) error {
	all, err := m.guests().List()
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
	if err := m.kubectl(ctx, "patch", "node", name, "--subresource=status", "--type=merge", "-p", string(patch)); err != nil {
		return err
	}
	taints, err := host.Run(ctx, m.cluster().Kubectl("get", "node", name, "-o", "jsonpath={.spec.taints[*].key}")...)
	if err != nil || !strings.Contains(taints, uninitializedTaint) {
		return err
	}
	return m.kubectl(ctx, "taint", "node", name, uninitializedTaint+"-")
}

// addresses returns a node's addresses in the form of its status.
func addresses(g guest.Guest) []map[string]string {
	return []map[string]string{
		{"type": "InternalIP", "address": g.Address.Addr().String()},
		{"type": "ExternalIP", "address": g.FloatingIP.String()},
		{"type": "Hostname", "address": g.Name},
	}
}

// controller returns the component that runs Isthmus' controller outside the nodes,
// beside the rest of the control plane.
func (d deployment) controller() supervise.Component {
	listen := d.site().Gateway().Addr().String() + ":10661"
	program := filepath.Join(d.Repo, "bin", controller)
	return supervise.Component{
		Name:  controller,
		Needs: []string{isthmus + "/manifests", openstack.ResourcesName},
		Env:   []string{"BUILT=" + buildTime(program)}, // a new build changes this, so the supervisor restarts the process
		Argv: []string{
			program, "--settings=" + d.settingsFile(),
			"--kubeconfig=" + d.cluster().AccountKubeconfig(controller), "--listen=" + listen,
			"--pool-socket=" + d.poolSocket(),
		},
		Prepare: func(context.Context) error {
			clouds, err := d.cloud().CloudsYAML(openstack.Tenant)
			if err != nil || d.cloudsFile() == "" {
				return err
			}
			return os.WriteFile(d.cloudsFile(), []byte(clouds), 0o600)
		},
		Ready: kube.Serves("http://" + listen + "/readyz"),
	}
}

// buildTime returns the modification time of a program, or "" if there is no such file.
func buildTime(program string) string {
	info, err := os.Stat(program)
	if err != nil {
		return ""
	}
	return info.ModTime().UTC().Format(time.RFC3339Nano)
}
