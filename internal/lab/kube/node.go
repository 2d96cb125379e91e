package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/isthmus-cni/isthmus/internal/lab/host"
	"github.com/isthmus-cni/isthmus/internal/lab/ovn"
	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Kubelet returns the name of the component that runs n's kubelet.
func Kubelet(n host.Node) string { return n.Name + "/kubelet" }

// Containerd returns the name of the component that runs n's containerd.
func Containerd(n host.Node) string { return n.Name + "/containerd" }

// PauseImage is the image of every pod's sandbox. It must be imported: there is no registry.
const PauseImage = "localhost/pause:1"

// ContainerdConfig is the configuration of containerd on every node.
const ContainerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + PauseImage + `"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
`

// cniPlugins is the directory of the reference CNI plugins.
const cniPlugins = "/usr/lib/cni"

func (c Cluster) containerd(n host.Node) supervise.Component {
	config := n.Private("/etc/kubernetes/containerd.toml")
	return supervise.Component{
		Name:  Containerd(n),
		Needs: []string{ovn.Host(n)},
		Argv:  n.Enter("containerd", "--config", "/etc/kubernetes/containerd.toml"),
		Env:   configured([]byte(ContainerdConfig)),
		Prepare: func(ctx context.Context) error {
			if err := os.WriteFile(config, []byte(ContainerdConfig), 0o644); err != nil {
				return err
			}
			_, err := host.Run(ctx, "cp", "-u", cniPlugins+"/loopback", cniPlugins+"/bridge", cniPlugins+"/host-local",
				cniPlugins+"/portmap", n.Private("/opt/cni/bin/"))
			return err
		},
		Ready: func(ctx context.Context) error {
			_, err := host.Run(ctx, n.Enter("ctr", "--timeout=5s", "--connect-timeout=5s", "version")...)
			return err
		},
	}
}

func (c Cluster) kubelet(n host.Node) supervise.Component {
	text, err := yaml.Marshal(c.kubeletConfig(n))
	return supervise.Component{
		Name:  Kubelet(n),
		Needs: []string{APIServer, Containerd(n), ovn.Address(n)},
		Argv: n.Enter(filepath.Join(c.Bin, "kubelet"), "--config=/etc/kubernetes/kubelet.yaml",
			"--kubeconfig="+c.kubeconfig(n.Name), "--node-ip="+n.Addr.Addr().String(), "--hostname-override="+n.Name),
		Env: configured(text),
		Prepare: func(context.Context) error {
			return errors.Join(err, os.WriteFile(n.Private("/etc/kubernetes/kubelet.yaml"), text, 0o644))
		},
		Ready: func(ctx context.Context) error {
			out, err := host.Run(ctx, c.Kubectl("get", "node", n.Name, "-o", "name")...)
			if err == nil && !strings.Contains(out, n.Name) {
				err = fmt.Errorf("node %s has not registered", n.Name)
			}
			return err
		},
	}
}

// configured returns a variable with a checksum of a component's configuration. When it
// changes, the supervisor restarts the component.
func configured(text []byte) []string {
	sum := sha256.Sum256(text)
	return []string{"ISTHMUS_LAB_CONFIG=" + hex.EncodeToString(sum[:6])}
}

// kubeletConfig returns the usual configuration plus the settings that several kubelets on
// one machine need.
func (c Cluster) kubeletConfig(n host.Node) map[string]any {
	config := kubeletConfig(c.pki("ca.crt"), c.pki(n.Name+"-server"))
	config["failCgroupV1"] = false
	config["cgroupRoot"] = n.CgroupRoot()
	return config
}

// kubeletConfig returns the kubelet's configuration on a machine without systemd. ca is the
// file of the CA certificate. server is the path of the kubelet's own certificate and key,
// without .crt and .key.
func kubeletConfig(ca, server string) map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
		"failSwapOn":               false,
		"cgroupDriver":             "cgroupfs",
		"cgroupsPerQOS":            true,
		"enforceNodeAllocatable":   []string{},
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": ca},
		},
		"authorization":                 map[string]any{"mode": "Webhook"},
		"tlsCertFile":                   server + ".crt",
		"tlsPrivateKeyFile":             server + ".key",
		"evictionHard":                  map[string]string{"imagefs.available": "1%", "nodefs.available": "1%", "memory.available": "50Mi"},
		"imageGCHighThresholdPercent":   100, // without a registry, a removed image could not be pulled again
		"imageGCLowThresholdPercent":    99,
		"localStorageCapacityIsolation": false,
		"resolvConf":                    "",
		"clusterDNS":                    []string{ClusterDNS},
		"clusterDomain":                 "cluster.local",
		"maxPods":                       250,
		"volumePluginDir":               "/var/lib/kubelet/volume-plugins",
	}
}

// proxy returns kube-proxy on a node. It serves comparisons of Services with and without
// Isthmus.
func (c Cluster) proxy(n host.Node) supervise.Component {
	return supervise.Component{
		Name:  n.Name + "/kube-proxy",
		Needs: []string{Kubelet(n)},
		Argv: n.Enter(filepath.Join(c.Bin, "kube-proxy"), "--proxy-mode=nftables", "--kubeconfig="+c.kubeconfig("proxy"),
			"--hostname-override="+n.Name, "--conntrack-max-per-core=0"),
		Ready: func(ctx context.Context) error {
			_, err := host.Run(ctx, n.Enter("curl", "-fsS", "--max-time", "2", "http://127.0.0.1:10256/livez")...)
			return err
		},
	}
}
