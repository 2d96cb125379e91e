package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/kube"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// Names of the components that deploy Isthmus.
const (
	imagesOf = "/images"
	isthmus  = "isthmus"
)

// deployment deploys Isthmus to the cluster, and CoreDNS if the profile uses it.
type deployment struct{ layout }

// images returns a step per node that imports the images from the source tree's
// directory bin.
func (d deployment) images() []supervise.Component {
	if d.Repo == "" {
		return nil
	}
	var steps []supervise.Component
	for _, n := range d.kubelets() {
		steps = append(steps, supervise.Component{
			Name:  n.Name + imagesOf,
			Needs: []string{kube.Containerd(n)},
			Do: func(ctx context.Context) error {
				for _, file := range d.archives() {
					if err := load(ctx, n, file); err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	return steps
}

// load imports an image file into a node's containerd, unless the node already
// has this very file.
func load(ctx context.Context, n host.Node, file string) error {
	sum, err := fileSum(file)
	if err != nil {
		return err
	}
	stamp := n.Private("/var/lib/containerd/isthmus-lab-" + filepath.Base(file))
	if have, err := os.ReadFile(stamp); err == nil && string(have) == sum {
		return nil
	}
	if _, err := host.Run(ctx, n.Enter("ctr", "-n", "k8s.io", "images", "import", file)...); err != nil {
		return fmt.Errorf("load %s into %s: %w", file, n.Name, err)
	}
	return os.WriteFile(stamp, []byte(sum), 0o644)
}

func fileSum(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Load imports an image file into every node that is a host. It errs in profile
// Nested: a virtual machine's serial console is too slow to transfer an image.
func (l *Lab) Load(ctx context.Context, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	for _, n := range l.kubelets() {
		if err := load(ctx, n, file); err != nil {
			return err
		}
	}
	if l.Profile == Nested {
		return errors.New("nodes that are virtual machines have the images that were on their disk when it was made, and get no others: " +
			"use localhost/isthmus-demo:1 or localhost/isthmus-tools:1 there")
	}
	return nil
}

// isthmus returns the steps that deploy Isthmus from its own manifests and wait
// until the nodes are ready.
func (d deployment) isthmus() []supervise.Component {
	needs := []string{kube.Controller, kube.Scheduler, "ovn-northd"}
	for _, n := range d.kubelets() {
		needs = append(needs, n.Name+imagesOf, kube.Kubelet(n))
	}
	steps := []supervise.Component{{Name: isthmus + "/manifests", Needs: needs, Do: d.apply}}
	serves := []string{isthmus + "/manifests"}
	if d.Profile == Nested {
		steps = append(steps, d.controller())
		serves = append(serves, controller)
		for _, name := range d.workerNames() {
			serves = append(serves, nodeStep(name))
		}
	}
	return append(steps, supervise.Component{Name: isthmus, Needs: serves, Do: d.rollOut, Ready: d.isthmusReady})
}

// apply applies the CRDs, the settings and the manifests.
func (d deployment) apply(ctx context.Context) error {
	config, err := d.config()
	if err != nil {
		return err
	}
	args := []string{"apply", "--server-side", "--force-conflicts", "-f", filepath.Join(d.Repo, "api/crds"), "-f", config}
	if d.neutronPods() && d.Profile != Nested {
		secret, err := d.credentials()
		if err != nil {
			return err
		}
		args = append(args, "-f", secret)
	}
	manifests, err := filepath.Glob(filepath.Join(d.Repo, "deploy/*.yaml"))
	if err != nil {
		return err
	}
	if len(manifests) == 0 {
		return fmt.Errorf("no manifests in %s/deploy", d.Repo)
	}
	for _, m := range manifests {
		if d.applies(filepath.Base(m)) {
			args = append(args, "-f", m)
		}
	}
	return d.kubectl(ctx, args...)
}

// applies reports whether this lab uses the manifest.
func (d deployment) applies(manifest string) bool {
	switch manifest {
	case "config.yaml": // an example; the lab writes its own
		return false
	case "controller.yaml":
		return d.Profile != Nested // in Nested, the controller runs outside the nodes
	}
	return true
}

// config writes the settings file and a manifest of the ConfigMap with the same
// content. It returns the manifest's path.
func (d deployment) config() (string, error) {
	s := settings.Default()
	s.Cluster = "lab"
	s.NBAddresses = []string{d.central().NB()}
	s.SBAddresses = []string{d.central().SB()}
	s.APIServers = []string{d.cluster().Server()}
	if d.neutronPods() {
		s.Neutron = neutronSettings()
		s.Neutron.CloudsFile = d.cloudsFile()
	}
	if err := s.Validate(); err != nil {
		return "", err
	}
	value, err := yaml.Marshal(s)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(d.settingsFile(), value, 0o600); err != nil {
		return "", err
	}
	return d.manifest("isthmus-config", map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]string{"name": settings.ConfigMap, "namespace": settings.Namespace},
		"data":     map[string]string{settings.Key: string(value)},
	})
}

// manifest writes an object to a file for kubectl apply and returns the path.
func (d deployment) manifest(name string, object map[string]any) (string, error) {
	text, err := yaml.Marshal(object)
	if err != nil {
		return "", err
	}
	file := filepath.Join(d.Dir, "kube", name+".yaml")
	return file, os.WriteFile(file, text, 0o600)
}

// daemons returns the workloads of Isthmus in the cluster, as kubectl names them.
func (d deployment) daemons() []string {
	if d.Profile == Nested {
		return []string{"daemonset/isthmus-agent"}
	}
	return []string{"deployment/isthmus-controller", "daemonset/isthmus-agent"}
}

// rollOut restarts the daemons if their image or settings changed. It returns
// when the rollouts are complete and every node is ready.
func (d deployment) rollOut(ctx context.Context) error {
	sum, err := d.checksum()
	if err != nil {
		return err
	}
	stamp := filepath.Join(d.Dir, "kube", "deployed")
	if have, err := os.ReadFile(stamp); err == nil && string(have) != sum {
		if err := d.kubectl(ctx, append([]string{"-n", settings.Namespace, "rollout", "restart"}, d.daemons()...)...); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(stamp, []byte(sum), 0o644); err != nil {
		return err
	}
	for _, name := range d.daemons() {
		if err := d.kubectl(ctx, "-n", settings.Namespace, "rollout", "status", name, "--timeout=240s"); err != nil {
			return fmt.Errorf("%w\n%s", err, d.explain(ctx))
		}
	}
	return d.kubectl(ctx, "wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
}

// isthmusReady returns nil if every agent and one controller answer at /readyz.
// It asks the daemons themselves, because pod status in the API server is stale
// after a restart of the kubelets.
func (d deployment) isthmusReady(ctx context.Context) error {
	if d.Profile == Nested {
		return nil // the controller is a component with its own check; the kubelets probe the agents
	}
	controller := errors.New("no nodes")
	for _, n := range d.nodes {
		address := n.Addr.Addr().String()
		if err := kube.Serves("http://" + address + ":10662/readyz")(ctx); err != nil {
			return fmt.Errorf("agent on %s: %w", n.Name, err)
		}
		if controller != nil {
			controller = kube.Serves("http://" + address + ":10661/readyz")(ctx)
		}
	}
	if controller != nil {
		return fmt.Errorf("no controller: %w", controller)
	}
	return nil
}

// checksum returns a checksum of the image and the settings. The daemons must be
// restarted when it changes.
func (d deployment) checksum() (string, error) {
	image, err := fileSum(filepath.Join(d.Repo, "bin/isthmus.tar"))
	if err != nil {
		return "", fmt.Errorf("the image of Isthmus: %w; make build makes it", err)
	}
	var sum strings.Builder
	sum.WriteString(image)
	for _, name := range []string{"isthmus-config", "isthmus-openstack"} {
		part, err := fileSum(filepath.Join(d.Dir, "kube", name+".yaml"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		sum.WriteString(part)
	}
	return sum.String(), nil
}

// explain returns the pods and the last log lines of Isthmus, for the error when
// the daemons do not start.
func (d deployment) explain(ctx context.Context) string {
	var output []string
	for _, args := range [][]string{
		{"-n", settings.Namespace, "get", "pods", "-o", "wide"},
		{"-n", settings.Namespace, "logs", "--tail=15", "--prefix", "-l", "app in (isthmus-agent,isthmus-controller)"},
	} {
		out, err := host.Run(ctx, d.cluster().Kubectl(args...)...)
		if err != nil {
			out = err.Error()
		}
		output = append(output, strings.TrimSpace(out))
	}
	return strings.Join(output, "\n")
}
