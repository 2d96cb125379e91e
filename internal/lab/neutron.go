package lab

import (
	"bytes"
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"text/template"

	"github.com/isthmus-cni/isthmus/internal/lab/image"
	"github.com/isthmus-cni/isthmus/internal/lab/kube"
	"github.com/isthmus-cni/isthmus/internal/lab/openstack"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// neutronSettings returns the settings of pods on Neutron ports.
func neutronSettings() *settings.Neutron {
	least := 3
	return &settings.Neutron{
		Cloud: openstack.Tenant, Router: openstack.Router, ExternalNetwork: openstack.PublicNetwork,
		Default: true, PodCIDR: "10.1.0.0/16", Pool: settings.Pool{Min: &least, Max: 20, Batch: 5},
	}
}

// credentials writes the manifest of the Secret with Isthmus' clouds.yaml and returns
// its path.
func (d deployment) credentials() (string, error) {
	clouds, err := d.cloud().CloudsYAML(openstack.Tenant)
	if err != nil {
		return "", err
	}
	return d.manifest("isthmus-openstack", map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]string{"name": "isthmus-openstack", "namespace": settings.Namespace},
		"stringData": map[string]string{"clouds.yaml": clouds},
	})
}

// coreDNSTar is the image that "make coredns" writes into bin.
const coreDNSTar = "coredns.tar"

//go:embed coredns.yaml
var coreDNS string

// dns returns the step that deploys CoreDNS.
func (d deployment) dns() []supervise.Component {
	return []supervise.Component{{Name: "coredns", Needs: []string{isthmus, openstack.ResourcesName}, Do: d.applyDNS}}
}

func (d deployment) applyDNS(ctx context.Context) error {
	// a pod created before its network is retried with a delay longer than the network
	// takes, so wait for the network first
	for _, what := range []string{"create", "condition=Ready"} {
		if err := d.kubectl(ctx, "wait", "--for="+what, "subnet/pods", "--timeout=60s"); err != nil {
			return err
		}
	}
	text, err := d.dnsManifest()
	if err != nil {
		return err
	}
	file := filepath.Join(d.Dir, "kube", "coredns.yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	if err := d.kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", file); err != nil {
		return err
	}
	return d.kubectl(ctx, "-n", settings.Namespace, "rollout", "status", "deployment/coredns", "--timeout=120s")
}

func (d deployment) dnsManifest() ([]byte, error) {
	t, err := template.New("coredns").Parse(coreDNS)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"Image": image.CoreDNSName, "Address": kube.ClusterDNS, "APIServer": d.site().Gateway().Addr().String(),
	})
	return b.Bytes(), err
}
